package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
)

// option is one of a request's options; its name is the command line's.
type option struct {
	name, kind string // kind: number, integer, boolean, string, strings
	enum       []string
	def        any
	doc        string
	set        func(j *job, v string) error
}

// job is what a request asks for.
type job struct {
	prune.Request
	weights string
	share   float64             // of the file's size, where the target size is one
	given   map[string][]string // options by name, as they were sent
	inputs  []string            // sizes that work is counted at
}

func newJob() *job {
	return &job{weights: "original", Request: prune.Request{Sparsity: .5}, given: map[string][]string{}}
}

// wrong is a value that an option does not take.
func wrong(v, want string) error { return &planner.OptionError{Want: want, Got: v} }

// factor takes a number of times from 1 on, such as 2 or 2x.
func factor(at func(*job) *float64) func(*job, string) error {
	return func(j *job, v string) error {
		x, err := planner.ParseFactor(v)
		if err != nil || x < 1 {
			return wrong(v, "a number such as 2 or 2x, at least 1")
		}
		*at(j) = x
		return nil
	}
}

// share takes a share above 0, such as 0.3 or 30%.
func share(at func(*job) *float64, most float64) func(*job, string) error {
	return func(j *job, v string) error {
		x, err := planner.ParseShare(v)
		if err != nil || !(x > 0) || x > most {
			return wrong(v, "a share such as 0.3 or 30%, above 0 and at most 1")
		}
		*at(j) = x
		return nil
	}
}

func count(at func(*job) *int) func(*job, string) error {
	return func(j *job, v string) error {
		x, err := strconv.Atoi(v)
		if err != nil || x < 1 || x > 1<<20 {
			return wrong(v, "a whole number from 1 to 1048576")
		}
		*at(j) = x
		return nil
	}
}

func text(at func(*job) *string, allowed ...string) func(*job, string) error {
	return func(j *job, v string) error {
		if len(allowed) > 0 && !slices.Contains(allowed, v) {
			return planner.OneOf("", v, allowed...)
		}
		*at(j) = v
		return nil
	}
}

func size(j *job, v string) error {
	if strings.HasSuffix(v, "%") {
		x, err := planner.ParseShare(v)
		if err != nil || !(x > 0) || x > 1 {
			return wrong(v, "a size such as 10MB, or a share of the file such as 50%")
		}
		j.share = x
		return nil
	}
	n, err := humanize.ParseBytes(v)
	if err != nil || n == 0 || n > 1<<62 {
		return wrong(v, "a size such as 10MB, or a share of the file such as 50%")
	}
	j.Target.Bytes = int64(n)
	return nil
}

func inputSize(j *job, v string) error {
	all := append(j.inputs, v)
	if _, err := graphcodec.ParseSizes(all); err != nil {
		return err
	}
	j.inputs = all
	return nil
}

// countAt sets the sizes of inputs that work is counted at.
func (j *job) countAt(s *prune.Session) error {
	sizes, err := graphcodec.ParseSizes(j.inputs)
	if err != nil || sizes == nil {
		return err
	}
	if err := s.CountAt(sizes); err != nil {
		return badOption("query input", err)
	}
	return nil
}

func truth(at func(*job) *bool) func(*job, string) error {
	return func(j *job, v string) error {
		if v != "true" && v != "false" {
			return wrong(v, "true or false")
		}
		*at(j) = v == "true"
		return nil
	}
}

func seed(j *job, v string) error {
	x, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return wrong(v, "a whole number")
	}
	j.Criterion.Seed = x
	return nil
}

func choice(name string, at func(*job) *string, def any, doc string, allowed ...string) option {
	return option{name: name, kind: "string", enum: allowed, def: def, doc: doc, set: text(at, allowed...)}
}

// options lists what /v1/masks and /v1/prune understand.
var options = []option{
	{name: "speed-up", kind: "number", doc: "target: multiply-accumulates before / after", set: factor(func(j *job) *float64 { return &j.Target.SpeedUp })},
	{name: "count-computed", kind: "boolean", def: false, doc: "of speed-up: count the MACs with shapes evaluated alone, not also those at static shapes", set: truth(func(j *job) *bool { return &j.Target.Computed })},
	{name: "input", kind: "strings", doc: "NAME=SIZES of an input that work is counted at, such as x=1x3x224x224, without NAME= where there is one input; may be repeated; free sizes are assumed where it is missing", set: inputSize},
	{name: "params", kind: "number", doc: "target: share of the parameters to keep, such as 0.5 or 50%", set: share(func(j *job) *float64 { return &j.Target.Params }, 1)},
	{name: "size", kind: "string", doc: "target: size of the smaller model, such as 10MB, or 50% of its present size", set: size},
	{name: "ratio", kind: "number", doc: "target: share of the prunable channels that are removed, such as 0.3 or 30%", set: share(func(j *job) *float64 { return &j.Target.Ratio }, 1)},
	choice("criterion", func(j *job) *string { return &j.Criterion.Kind }, "l2", "importance", "l2", "l1", "bn", "fpgm", "random", "metanet"),
	choice("weights", func(j *job) *string { return &j.weights }, "original", "of criterion metanet: keep the original weights, or take the metanetwork's", "original", "metanet"),
	choice("reduction", func(j *job) *string { return &j.Criterion.Reduction }, "mean", "over a group's members", "mean", "sum", "max", "first"),
	choice("normalizer", func(j *job) *string { return &j.Criterion.Normalizer }, nil, "within a group; by default what the metanetwork was trained for, else mean", "mean", "max", "none", "lamp", "original", "order"),
	choice("ranking", func(j *job) *string { return &j.Ranking }, "global", "which channels are compared: of the whole model (global), of each group (group), or of all groups of the same structure (isomorphic)", "global", "group", "isomorphic"),
	choice("attention", func(j *job) *string { return (*string)(&j.Attention) }, nil, "of attention, remove only whole heads (heads) or only channels per head (head-dim)", "heads", "head-dim"),
	{name: "pattern", kind: "string", def: "channels", doc: "what is removed: channels, or weights as zeros: N:M or unstructured", set: text(func(j *job) *string { return &j.Pattern })},
	{name: "sparsity", kind: "number", def: .5, doc: "share of zeros for pattern unstructured", set: share(func(j *job) *float64 { return &j.Sparsity }, 1)},
	{name: "steps", kind: "integer", def: 1, doc: "number of pruning steps; the importance is computed again after each step", set: count(func(j *job) *int { return &j.Steps })},
	{name: "round-to", kind: "integer", def: 1, doc: "keep a multiple of this number of channels in each group", set: count(func(j *job) *int { return &j.RoundTo })},
	{name: "max-ratio", kind: "number", doc: "remove at most this share of each group, 0 to 1", set: share(func(j *job) *float64 { return &j.MaxRatio }, 1)},
	{name: "ignore", kind: "strings", doc: "groups to keep whole, by node path, tensor, ID or name (glob); may be repeated", set: func(j *job, v string) error { j.Ignore = append(j.Ignore, v); return nil }},
	{name: "seed", kind: "integer", def: 0, doc: "seed of criterion random", set: seed},
}

// parse reads options from query parameters or form fields; place is "query" or "field".
func (j *job) parse(values url.Values, place string) error {
	for _, key := range sortedKeys(values) {
		name := strings.ReplaceAll(key, "_", "-")
		i := slices.IndexFunc(options, func(o option) bool { return o.name == name })
		if i < 0 {
			return unknownOption(place+" "+key, name)
		}
		if n := len(j.given[name]) + len(values[key]); n > 1 && options[i].kind != "strings" {
			return problem(http.StatusBadRequest, place+" "+key, "it is given %d times; want it once", n)
		}
		for _, v := range values[key] {
			if err := options[i].set(j, v); err != nil {
				return badOption(place+" "+key, err)
			}
		}
		j.given[name] = append(j.given[name], values[key]...)
	}
	return nil
}

// unknownOption names the option that was probably meant.
func unknownOption(place, name string) *Problem {
	near := ""
	if n := planner.Nearest(name, optionNames()); n != "" {
		near = "; did you mean " + n
	}
	p := problem(http.StatusBadRequest, place, "there is no such option%s; the options are %s", near, strings.Join(optionNames(), ", "))
	p.Want, p.Got = "an option", name
	return p
}

// badOption says what an option takes.
func badOption(place string, err error) *Problem {
	var size *graphcodec.SizeError
	if errors.As(err, &size) {
		p := problem(http.StatusBadRequest, place, "%v", err)
		p.Want, p.Got = size.Want, size.Got
		return p
	}
	var o *planner.OptionError
	if !errors.As(err, &o) {
		return problem(http.StatusBadRequest, place, "%v", err)
	}
	near := ""
	if o.Near != "" {
		near = "; did you mean " + o.Near + "?"
	}
	p := problem(http.StatusBadRequest, place, "%q: want %s%s", o.Got, o.Want, near)
	p.Want, p.Got = o.Want, o.Got
	return p
}

// check looks for what the options lack together.
func (j *job) check() error {
	t, n := j.Target, 0
	for _, set := range []bool{t.SpeedUp != 0, t.Params != 0, t.Bytes != 0, t.Ratio != 0} {
		if set {
			n++
		}
	}
	pattern := cmp.Or(j.Pattern, "channels")
	switch {
	case pattern == "channels" && n != 1:
		return problem(http.StatusBadRequest, "query", "%d targets are given; want exactly one of speed-up, params, size and ratio", n)
	case pattern != "channels" && n != 0:
		return problem(http.StatusBadRequest, "query", "pattern %s takes no target", pattern)
	case t.Computed && t.SpeedUp == 0:
		return problem(http.StatusBadRequest, "query count-computed", "it is for a speed-up")
	case j.weights == "metanet" && j.Criterion.Kind != "metanet":
		return problem(http.StatusBadRequest, "query weights", "weights metanet wants criterion metanet")
	case t.SpeedUp != 0 && t.SpeedUp < 1, t.Params > 1, t.Ratio >= 1, j.MaxRatio > 1, j.Sparsity > 1:
		return problem(http.StatusBadRequest, "query", "speed-up is a number from 1 on; params, max-ratio and sparsity are shares up to 1, ratio below 1")
	}
	return nil
}

// key tells the request apart from others about the same model: every option that was given, in quotes, so that no text can be taken for two.
func (j *job) key() string { return fmt.Sprintf("%q", j.given) }

func optionNames() []string {
	var out []string
	for _, o := range options {
		out = append(out, o.name)
	}
	return out
}

func sortedKeys(v url.Values) []string {
	var out []string
	for k := range v {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
