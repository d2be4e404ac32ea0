package op

import (
	"sort"

	"github.com/metaprune/metaprune/onnxio"
)

// Op describes one operator. What the program knows of an operator by its name is a field here, and
// nowhere else. Functions that make an Infer are go:noinline where they are long, so that operators
// which share one also share its code (WebAssembly's size).
type Op struct {
	Domain, Name string // domain "" is ONNX's own
	Since        int64  // first operator set version that Infer reads
	Note         string // for people; nothing is decided by its words

	Infer func(c *Call)     // shapes, contents and labels; nil: there is no rule, the other fields hold
	Patch func(p *Patching) // adapts attributes and shape inputs to pruned axes; nil: nothing to adapt
	Graph GraphKind         // what the node is in the parameter graph

	ElementWise   bool // of one input, the output has that input's shape, whatever it is
	AnyShape      bool // beside element-wise operators: takes whatever shape comes in
	MovesElements bool // outputs hold elements of the inputs: a zero point stays what it was
	View          bool // behind it a weight is still a weight
	Rounds        bool // rounds real numbers to few bits
	LaterOutputs  bool // a model may want its later outputs only

	KeepsZero bool                                                    // of one input: zero for zero
	Variadic  bool                                                    // takes any number of inputs
	Truth     bool                                                    // the result is a truth value
	Gates     int                                                     // blocks of hidden channels in a recurrent weight; 0: not recurrent
	Means     Means                                                   // axes over which it takes means of what is kept
	Vectors   *Vectors                                                // of a normalisation in the parameter graph
	Layer     *Layer                                                  // where its weight and bias are; nil: it has none that is repaired and scored
	Multiply  bool                                                    // multiplies with its weights, with a rule or without
	Operands  string                                                  // inputs of operators on quantised values, by Op.operand
	Packing   func(c *Call, t *onnxio.Tensor, i int) (num, den int64) // of input i, whose bytes hold parts of numbers: num numbers in den elements; nil: each element is one
	Train     string                                                  // inputs that training changes, by Op.Trains
	Activates []string                                                // its attributes as fused nodes list them that name it; nil: none names it
	Sign      Sign                                                    // of the result
	Zero      Zero                                                    // the result of two or more inputs where channels are removed
	Eval      *Eval                                                   // how known contents are computed
	Static    Static                                                  // what ONNX's shape inference does with it
}

type opKey struct{ domain, name string }

var registry = map[opKey][]Op{}

// register adds operators; it is called from init only.
func register(ops ...Op) {
	for _, o := range ops {
		key := opKey{o.Domain, o.Name}
		registry[key] = append(registry[key], o)
	}
}

// family registers several operators that differ in their name alone.
func family(o Op, names ...string) {
	for _, name := range names {
		o.Name = name
		register(o)
	}
}

// Lookup returns the operator as the newest rule up to a version of its set reads it; nil without
// one.
func Lookup(domain, name string, version int64) *Op {
	if o := newest(domain, name, version); o != nil && o.Infer != nil {
		return o
	}
	return nil
}

// newest returns the entry of an operator that is the newest up to a version; nil where there is
// none.
func newest(domain, name string, version int64) *Op {
	if domain == "ai.onnx" {
		domain = ""
	}
	var best *Op
	ops := registry[opKey{domain, name}]
	for i := range ops {
		if o := &ops[i]; o.Since <= version && (best == nil || o.Since > best.Since) {
			best = o
		}
	}
	return best
}

// nothing is what is known of operators that are not registered.
var nothing Op

// Describe returns what is known of an operator in the newest version of its set; of one that is
// not
// registered all fields are zero. It must not be changed.
func Describe(domain, name string) *Op {
	if o := newest(domain, name, 1<<62); o != nil {
		return o
	}
	return &nothing
}

// Op describes the node's operator.
func (c *Call) Op() *Op { return Describe(c.Node.Domain, c.Node.OpType) }

// Like describes the operator of that name in the node's domain, or else in ONNX's own or ONNX
// Runtime's: other domains hold copies of their operators, in other memory layouts.
func (c *Call) Like() *Op {
	for _, domain := range []string{c.Node.Domain, "", Microsoft} {
		if o := Describe(domain, c.Node.OpType); o != &nothing {
			return o
		}
	}
	return &nothing
}

// OpInfo describes one entry of the operator table.
type OpInfo struct {
	Domain string `json:"domain,omitempty"`
	Op     string `json:"op"`
	Since  int64  `json:"since"`
	Rule   string `json:"rule"`
}

// Operators lists the operators that have a rule, by name.
func Operators() []OpInfo {
	var out []OpInfo
	for _, ops := range registry {
		for _, o := range ops {
			if o.Infer != nil {
				out = append(out, OpInfo{o.Domain, o.Name, o.Since, o.Note})
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Domain != b.Domain {
			return a.Domain < b.Domain
		}
		if a.Op != b.Op {
			return a.Op < b.Op
		}
		return a.Since < b.Since
	})
	return out
}
