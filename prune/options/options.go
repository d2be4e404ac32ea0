package options

// Kind is what an option's value is.
type Kind string

// Kinds of values. Strings may be given several times.
const (
	Number  Kind = "number"
	Integer Kind = "integer"
	Boolean Kind = "boolean"
	String  Kind = "string"
	Strings Kind = "strings"
)

// Option is one option of a request for a smaller model.
type Option struct {
	Name    string // as a query parameter and, behind two hyphens, as a flag, such as "round-to"
	Kind    Kind
	Enum    []string // of a String that takes these values alone; nil for any
	Default any      // of the option's kind; nil where there is none
	Doc     string   // one line: what it does and its unit
	Target  bool     // one of the targets, of which exactly one is given
	Local   []string // values that front ends with samples take besides Enum
	Engine  bool     // needs an engine that runs models
}

// All lists the options in the order that documents show them in.
var All = []Option{
	{Name: "speed-up", Kind: Number, Target: true, Doc: "target: multiply-accumulates before / after"},
	{Name: "count-computed", Kind: Boolean, Default: false, Doc: "of speed-up: count the MACs with shapes evaluated alone, not also those at static shapes"},
	{Name: "input", Kind: Strings, Doc: "sizes of an input, NAME=SIZES such as x=1x3x224x224 (without NAME= if there is one input; may be repeated); MACs are counted at them; other free sizes are assumed"},
	{Name: "params", Kind: Number, Target: true, Doc: "target: share of the parameters to keep, such as 0.5 or 50%"},
	{Name: "size", Kind: String, Target: true, Doc: "target: size of the smaller model, such as 10MB, or 50% of its present size"},
	{Name: "ratio", Kind: Number, Target: true, Doc: "target: share of the prunable channels that are removed, such as 0.3 or 30%"},
	{Name: "criterion", Kind: String, Enum: []string{"l2", "l1", "bn", "fpgm", "random", "metanet"}, Local: []string{"obs", "wanda", "hessian", "taylor"}, Default: "l2", Doc: "importance"},
	{Name: "weights", Kind: String, Enum: []string{"original", "metanet"}, Default: "original", Doc: "of criterion metanet: keep the original weights, or take the metanetwork's"},
	{Name: "reduction", Kind: String, Enum: []string{"mean", "sum", "max", "first"}, Default: "mean", Doc: "over a group's members"},
	{Name: "normalizer", Kind: String, Enum: []string{"mean", "max", "none", "lamp", "original", "order"}, Doc: "within a group; by default what the metanetwork was trained for, else mean"},
	{Name: "ranking", Kind: String, Enum: []string{"global", "group", "isomorphic"}, Default: "global", Doc: "which channels are compared: of the whole model (global), of each group (group), or of all groups of the same structure (isomorphic)"},
	{Name: "attention", Kind: String, Enum: []string{"heads", "head-dim"}, Doc: "of attention, remove only whole heads (heads) or only channels per head (head-dim)"},
	{Name: "pattern", Kind: String, Default: "channels", Doc: "what is removed: channels, or weights as zeros: N:M or unstructured"},
	{Name: "sparsity", Kind: Number, Default: .5, Doc: "share of zeros for pattern unstructured"},
	{Name: "steps", Kind: Integer, Default: 1, Doc: "number of pruning steps; the importance is computed again after each step"},
	{Name: "round-to", Kind: Integer, Default: 1, Doc: "keep a multiple of this number of channels in each group"},
	{Name: "max-ratio", Kind: Number, Doc: "remove at most this share of each group, 0 to 1"},
	{Name: "ignore", Kind: Strings, Doc: "groups to keep, by node path, tensor, ID or name; patterns such as head.* work; may be repeated"},
	{Name: "seed", Kind: Integer, Default: 0, Doc: "seed of criterion random, of noise and of the choice of samples"},
	{Name: "repair", Kind: String, Enum: []string{"none", "noise", "data"}, Engine: true, Doc: "fit the remaining weights to the original's outputs, on random inputs (noise) or on calibration samples (data); by default data where samples are sent, else none"},
}

// Named returns the option of a name; nil where there is none.
func Named(name string) *Option {
	for i := range All {
		if All[i].Name == name {
			return &All[i]
		}
	}
	return nil
}

// Names lists the options' names.
func Names() []string {
	var out []string
	for _, o := range All {
		out = append(out, o.Name)
	}
	return out
}
