package planner

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
)

// weightsOf returns the float weights of layers that may get zeros, each with its input axis.
func weightsOf(a *coupling.Analysis, ignore []string) ([]coupling.Weight, error) {
	kept, err := withoutZeros(a, ignore)
	var out []coupling.Weight
	for _, w := range a.Weights() {
		if !kept[w.Const] && w.Const.Tensor.DataType.IsFloat() && w.Input >= 0 && !w.Const.Copy {
			out = append(out, w)
		}
	}
	return out, err
}

// ParsePattern reads "2:4" and the like.
func ParsePattern(s string) (n, m int, err error) {
	a, b, ok := strings.Cut(s, ":")
	n, errN := strconv.Atoi(a)
	m, errM := strconv.Atoi(b)
	if !ok || errN != nil || errM != nil || n < 1 || m <= n || m > 256 {
		names := []string{"channels", "unstructured"}
		return 0, 0, &OptionError{Where: "pattern", Want: "channels, unstructured or N:M such as 2:4", Got: s, Near: Nearest(s, names)}
	}
	return n, m, nil
}

// PlanPattern zeroes all but the n largest magnitudes of every m consecutive input channels. Weights whose input axis is no multiple of m stay, and so do those that ignore names (Options.Ignore).
func PlanPattern(a *coupling.Analysis, pattern string, ignore ...string) (*Plan, error) {
	_, m, err := ParsePattern(pattern)
	if err != nil {
		return nil, err
	}
	ws, err := weightsOf(a, ignore)
	if err != nil {
		return nil, err
	}
	p := sparsePlan(a)
	if _, err = ignored(a, ignore); err != nil {
		return nil, err
	}
	for _, w := range ws {
		if w.Const.Tensor.Dims[w.Input]%int64(m) == 0 {
			p.Zeroed = append(p.Zeroed, Zeroed{Tensor: w.Const.Name, Pattern: pattern, Axis: w.Input})
		}
	}
	if len(p.Zeroed) == 0 {
		return nil, &TargetError{Want: "pattern " + pattern, Got: "nothing: no weight has a multiple of " + strconv.Itoa(m) + " input channels"}
	}
	return p, nil
}

func sparsePlan(a *coupling.Analysis) *Plan {
	p := &Plan{Format: "metaprune-plan", Version: PlanVersion, Criterion: "magnitude", Repair: "none", Weights: "original"}
	p.record(a, a.NewState())
	return p
}

// PlanUnstructured zeroes the given share of all layer weights but those that ignore names (Options.Ignore), smallest magnitudes first.
func PlanUnstructured(a *coupling.Analysis, sparsity float64, ignore ...string) (*Plan, error) {
	if !(sparsity > 0 && sparsity < 1) {
		return nil, outOfRange("sparsity", aShare, sparsity)
	}
	p := sparsePlan(a)
	var err error
	if _, err = ignored(a, ignore); err != nil {
		return nil, err
	}
	p.Target = Target{Ratio: sparsity}
	type entry struct {
		magnitude float32
		tensor    int32
	}
	var all []entry
	ws, err := weightsOf(a, ignore)
	if err != nil {
		return nil, err
	}
	for i, w := range ws {
		v, err := w.Const.Tensor.Float32s()
		if err != nil {
			return nil, err
		}
		for _, x := range v {
			all = append(all, entry{float32(math.Abs(float64(x))), int32(i)})
		}
	}
	slices.SortStableFunc(all, func(x, y entry) int {
		return cmp.Or(cmp.Compare(x.magnitude, y.magnitude), cmp.Compare(ws[x.tensor].Const.Name, ws[y.tensor].Const.Name))
	})
	count := make([]int64, len(ws))
	for _, e := range all[:int(sparsity*float64(len(all)))] {
		count[e.tensor]++
	}
	for i, w := range ws {
		if count[i] > 0 {
			p.Zeroed = append(p.Zeroed, Zeroed{Tensor: w.Const.Name, Pattern: "unstructured", Count: count[i]})
		}
	}
	if len(p.Zeroed) == 0 {
		return nil, &TargetError{Want: fmt.Sprintf("sparsity %g", sparsity), Got: "nothing: the model has no weights that may be set to zero"}
	}
	return p, nil
}

// zero returns the model with the elements that the entries describe set to zero.
func zero(m *onnxio.Model, entries []Zeroed) (*onnxio.Model, error) {
	changed, g := *m, *m.Graph
	changed.Graph = &g
	g.Initializers, g.Nodes = slices.Clone(g.Initializers), slices.Clone(g.Nodes)
	for _, z := range entries {
		t := findTensor(&g, z.Tensor)
		if t == nil {
			return nil, &PlanError{fmt.Sprintf("the model has no tensor %q", z.Tensor)}
		}
		if err := zeroTensor(t, z); err != nil {
			return nil, err
		}
	}
	return &changed, nil
}

// findTensor returns a copy of the constant, already put in the original's place.
func findTensor(g *onnxio.Graph, name string) *onnxio.Tensor {
	for i, t := range g.Initializers {
		if t.Name == name {
			c := *t
			g.Initializers[i] = &c
			return &c
		}
	}
	for i, n := range g.Nodes {
		if n.OpType != "Constant" || len(n.Outputs) != 1 || n.Outputs[0] != name {
			continue
		}
		node := *n
		node.Attributes = slices.Clone(n.Attributes)
		for k, a := range node.Attributes {
			if a.Name == "value" && a.T != nil {
				attr, t := *a, *a.T
				attr.T = &t
				node.Attributes[k] = &attr
				g.Nodes[i] = &node
				return &t
			}
		}
	}
	return nil
}

func zeroTensor(t *onnxio.Tensor, z Zeroed) error {
	v, err := t.Float64s()
	if err != nil {
		return err
	}
	if len(v) > math.MaxInt32 {
		return &PlanError{fmt.Sprintf("tensor %q has %d elements; patterns of zeros are made in up to %d", z.Tensor, len(v), math.MaxInt32)}
	}
	raw, err := t.Bytes()
	if err != nil {
		return err
	}
	raw = slices.Clone(raw)
	width := t.DataType.Bits() / 8
	clear := func(i int) {
		for k := range width {
			raw[i*width+k] = 0
		}
	}
	if z.Pattern == "unstructured" {
		order := make([]int32, len(v))
		for i := range order {
			order[i] = int32(i)
		}
		slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(math.Abs(v[a]), math.Abs(v[b])) })
		if z.Count < 0 || z.Count > int64(len(v)) {
			return &PlanError{fmt.Sprintf("tensor %q has no %d elements", z.Tensor, z.Count)}
		}
		for _, i := range order[:z.Count] {
			clear(int(i))
		}
		t.SetRaw(raw)
		return nil
	}
	n, m, err := ParsePattern(z.Pattern)
	if err != nil || z.Axis < 0 || z.Axis >= len(t.Dims) || t.Dims[z.Axis]%int64(m) != 0 {
		return &PlanError{fmt.Sprintf("tensor %q cannot take the pattern %q on axis %d", z.Tensor, z.Pattern, z.Axis)}
	}
	inner := 1
	for _, d := range t.Dims[z.Axis+1:] {
		inner *= int(d)
	}
	block := make([]int32, m)
	for start := 0; start < len(v); start += m * inner {
		for j := range inner {
			for k := range block {
				block[k] = int32(start + k*inner + j)
			}
			slices.SortStableFunc(block, func(a, b int32) int { return cmp.Compare(math.Abs(v[a]), math.Abs(v[b])) })
			for _, i := range block[:m-n] {
				clear(int(i))
			}
		}
	}
	t.SetRaw(raw)
	return nil
}
