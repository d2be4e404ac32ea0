package coupling

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/onnxio"
)

// Sizes that free dimensions of inputs are counted at where nobody says better.
const (
	batchSize    = 1
	imageSize    = 224 // height and width
	sequenceSize = 128
	otherSize    = 64
)

// maxSize bounds a size that is given, maxInput the elements of an input of such sizes: counts have
// to fit 64 bits.
const (
	maxSize  = 1 << 24
	maxInput = 1 << 34
)

// SizeError reports sizes that cannot be read or that no input has.
type SizeError struct {
	Want, Got string
	text      string
}

func (e *SizeError) Error() string { return e.text }

func misfit(want, got, format string, args ...any) error {
	return &SizeError{want, got, fmt.Sprintf(format, args...)}
}

// Counted says at which sizes of the inputs the work is counted.
type Counted struct {
	Inputs  map[string][]int64 `json:"inputs" since:"2"`  // of the inputs with free dimensions
	Assumed bool               `json:"assumed" since:"2"` // a size is neither in the model nor given

	names []string // in the order of the graph
}

// String lists the sizes: "x = 1x3x224x224, mask = 1x128".
func (c *Counted) String() string {
	names := c.names
	if names == nil { // read from a file
		names = slices.Sorted(maps.Keys(c.Inputs))
	}
	var out []string
	for _, name := range names {
		out = append(out, name+" = "+sizeText(c.Inputs[name]))
	}
	return strings.Join(out, ", ")
}

func sizeText(dims []int64) string { return dim.Text(dim.Of(dims)) }

// ParseSizes reads sizes of inputs, each as "NAME=1x3x224x224", or without a name for a model with
// one input, which is "" in the result.
func ParseSizes(list []string) (map[string][]int64, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := map[string][]int64{}
	for _, s := range list {
		at := strings.LastIndexByte(s, '=') // names may have the sign in them
		name, text := s[:max(at, 0)], s[at+1:]
		if _, twice := out[name]; twice {
			return nil, misfit("one size of each input", s, "input %q is given twice", s)
		}
		var dims []int64
		for part := range strings.SplitSeq(strings.ToLower(text), "x") {
			n, err := strconv.ParseInt(strings.TrimSpace(part), 10, 64)
			if err != nil || n < 1 || n > maxSize {
				return nil, misfit("sizes such as x=1x3x224x224", s, "input %q: want sizes from 1 to %d such as x=1x3x224x224, got %q", s, maxSize, part)
			}
			dims = append(dims, n)
		}
		out[name] = dims
	}
	return out, nil
}

// sizer gives the free dimensions of inputs their sizes. Dimensions of one symbol have one size.
type sizer struct {
	a       *Analysis
	inputs  []*onnxio.ValueInfo
	symbols map[string]int64
	origin  map[string]string // the input that said so
}

// sizes works out the sizes of all inputs and symbols. Given sizes have to fit what the model
// declares and one another.
func (a *Analysis) sizes(given map[string][]int64) (*Counted, map[string]int64, error) {
	s := &sizer{a: a, symbols: map[string]int64{}, origin: map[string]string{}}
	for _, in := range a.Model.Graph.Inputs {
		if v := a.Analyzer.Values[in.Name]; v != nil && v.Const == nil && in.Type != nil && in.Type.Tensor != nil {
			s.inputs = append(s.inputs, in)
		}
	}
	given, err := s.named(given)
	if err != nil {
		return nil, nil, err
	}
	c := &Counted{Inputs: map[string][]int64{}}
	for _, in := range s.inputs {
		if dims := given[in.Name]; dims != nil {
			if err := s.bind(in, dims, c); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, sums := range []bool{false, true} { // sums of other sizes once these are known
		for _, in := range s.inputs {
			if dims, ok := dim.Declared(in); ok && given[in.Name] == nil {
				c.Assumed = s.assume(in, dims, sums) || c.Assumed
			}
		}
	}
	for _, in := range s.inputs {
		dims, ok := dim.Declared(in)
		if given[in.Name] == nil && ok && slices.ContainsFunc(dims, func(d dim.Dim) bool { return !d.IsNum() }) {
			c.Inputs[in.Name] = s.of(dims)
		}
		if c.Inputs[in.Name] != nil {
			c.names = append(c.names, in.Name)
		}
	}
	return c, s.symbols, nil
}

// named gives the sizes without a name the name of the only input, and refuses names that no input
// has.
func (s *sizer) named(given map[string][]int64) (map[string][]int64, error) {
	out := map[string][]int64{}
	var names []string
	for _, in := range s.inputs {
		names = append(names, in.Name)
	}
	for name, dims := range given {
		if name == "" && len(names) == 1 {
			name = names[0]
		}
		switch {
		case name == "":
			return nil, misfit("the name of an input", sizeText(dims), "input %s: the model has %d inputs (%s); write NAME=%s", sizeText(dims), len(names), strings.Join(names, ", "), sizeText(dims))
		case !slices.Contains(names, name):
			return nil, misfit(strings.Join(names, ", "), name, "the model has no input %q; its inputs are %s", name, strings.Join(names, ", "))
		case out[name] != nil:
			return nil, misfit("one size of each input", name, "input %q is given twice", name)
		}
		out[name] = dims
	}
	return out, nil
}

// bind checks the sizes of an input that are given and gives its symbols theirs.
func (s *sizer) bind(in *onnxio.ValueInfo, dims []int64, c *Counted) error {
	want, ranked := dim.Declared(in)
	if ranked && len(want) == 4 && len(dims) == 3 && (!want[0].IsNum() || want[0].N == batchSize) { // a picture
		dims = append([]int64{batchSize}, dims...)
	}
	wrong := func(format string, args ...any) error {
		return misfit(dim.Text(want), sizeText(dims), "input %q: the model declares %s, got %s: %s", in.Name, dim.Text(want), sizeText(dims), fmt.Sprintf(format, args...))
	}
	elements := int64(1)
	for _, n := range dims {
		if elements *= n; n < 1 || n > maxSize || elements > maxInput {
			return misfit("a size that can be counted", sizeText(dims), "input %q: %s is too large to be counted", in.Name, sizeText(dims))
		}
	}
	c.Inputs[in.Name] = dims
	if !ranked {
		return nil
	}
	if len(want) != len(dims) {
		return wrong("want %d sizes, got %d", len(want), len(dims))
	}
	for k, d := range want {
		if d.IsNum() {
			if d.N != dims[k] {
				return wrong("dimension %d is fixed at %d", k, d.N)
			}
			continue
		}
		if have, ok := s.symbols[d.Sym]; ok && have != dims[k] {
			return wrong("dimension %d (%s) is %d in input %q", k, d.Sym, have, s.origin[d.Sym])
		}
		s.symbols[d.Sym], s.origin[d.Sym] = dims[k], in.Name
	}
	return nil
}

// assume gives the free dimensions of an input that have no size yet one, sums of others or all but
// those; it reports whether there were any.
func (s *sizer) assume(in *onnxio.ValueInfo, dims []dim.Dim, sums bool) bool {
	any := false
	for k, d := range dims {
		if _, known := s.symbols[d.Sym]; d.IsNum() || known {
			continue
		}
		n, isSum := s.sum(d.Sym)
		if isSum && !sums {
			continue
		}
		if n == 0 {
			n, any = s.size(in, dims, k), true
		}
		s.symbols[d.Sym] = n
	}
	return any
}

// sum is the size of a symbol that is written as a sum of others, such as "past_sequence_length +
// 1" or "total_sequence_length"; 0 where one of them has no size.
func (s *sizer) sum(symbol string) (int64, bool) {
	if strings.Contains(symbol, "total_seq") {
		past, now := int64(0), int64(0)
		for _, name := range slices.Sorted(maps.Keys(s.symbols)) {
			switch {
			case strings.Contains(name, "past"):
				past = s.symbols[name]
			case strings.HasPrefix(name, "seq"):
				now = s.symbols[name]
			}
		}
		if now == 0 {
			return 0, true
		}
		return past + now, true
	}
	if !strings.Contains(symbol, "+") {
		return 0, false
	}
	var total int64
	for part := range strings.SplitSeq(symbol, "+") {
		part = strings.TrimSpace(part)
		n, err := strconv.ParseInt(part, 10, 32)
		if err != nil {
			n = s.symbols[part]
		}
		if n < 1 {
			return 0, true
		}
		total += n
	}
	return total, true
}

// of are the sizes of dims whose symbols all have one.
func (s *sizer) of(dims []dim.Dim) []int64 {
	out := make([]int64, len(dims))
	for k, d := range dims {
		if out[k] = d.N; !d.IsNum() {
			out[k] = s.symbols[d.Sym]
		}
	}
	return out
}

// size is what a free dimension is taken for: by the name of its symbol where that says it, else by
// where it is.
func (s *sizer) size(in *onnxio.ValueInfo, dims []dim.Dim, k int) int64 {
	if n := sizeByName(dims[k].Sym, k); n != 0 {
		return n
	}
	free := func(i int) bool { return i >= 0 && i < len(dims) && !dims[i].IsNum() }
	colours := func(i int) bool { return dims[i] == dim.Num(1) || dims[i] == dim.Num(3) || dims[i] == dim.Num(4) }
	t := in.Type.Tensor.ElemType
	past := strings.Contains(in.Name, "past") || strings.Contains(in.Name, "cache")
	switch rank := len(dims); {
	case past && rank >= 4 && k == rank-2:
		return sequenceSize
	case k == 0 && !(rank == 3 && colours(2) && t == onnxio.Uint8):
		return batchSize
	case past && rank == 5 && k == 1:
		return batchSize
	case past:
		return otherSize
	case rank == 4 && colours(3) && !(dims[1].IsNum() && colours(1)): // channels last
		return imageSize
	case rank == 4 && k == 1:
		return s.channels(in.Name)
	case rank == 4:
		return imageSize
	case rank == 3 && (t == onnxio.Uint8 || dims[0] == dim.Num(3) && free(1) && free(2)): // one image
		return imageSize
	case rank == 3 && (k == 1 || t.IsFloat() && !free(1)):
		return sequenceSize
	case rank == 2 && t.IsInteger():
		return sequenceSize
	}
	return otherSize
}

// sizeByName is the size that a symbol's name speaks of, 0 where it does not.
func sizeByName(symbol string, k int) int64 {
	name := strings.ToLower(symbol)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(name, p) })
	}
	is := func(names ...string) bool { return slices.Contains(names, name) }
	switch {
	case strings.HasPrefix(name, "?"): // no name of the model's
		return 0
	case has("batch"), k == 0 && is("n", "b", "bs"):
		return batchSize
	case has("height", "width"), k > 0 && is("h", "w"):
		return imageSize
	case has("seq", "length", "token", "time", "past"), strings.HasSuffix(name, "_len"), k > 0 && is("l", "t", "s", "len"):
		return sequenceSize
	}
	return 0
}

// channels is how many channels a convolution that reads the input wants.
func (s *sizer) channels(input string) int64 {
	for _, n := range s.a.Analyzer.ReadersOf(input) {
		if n.OpType != "Conv" || len(n.Inputs) < 2 {
			continue
		}
		if w := s.a.Analyzer.Values[n.Inputs[1]]; w != nil && len(w.Shape) > 1 && w.Shape[1].IsNum() {
			groups := int64(1)
			for _, at := range n.Attributes {
				if at.Name == "group" {
					groups = max(at.I, 1)
				}
			}
			return max(w.Shape[1].N*groups, 1)
		}
	}
	return otherSize
}
