package xla

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// role is what an operator makes of a constant that it reads.
type role struct {
	kind Kind
	norm bool
}

// weightSlots lists, per operator, which inputs training changes. Slot -1 stands for "any input that is a constant of more than one element".
var weightSlots = map[string]map[int]role{
	"Conv":                             {1: {kind: Weight}, 2: {kind: Vector}},
	"ConvTranspose":                    {1: {kind: Weight}, 2: {kind: Vector}},
	"Gemm":                             {0: {kind: Weight}, 1: {kind: Weight}, 2: {kind: Vector}},
	"FusedConv":                        {1: {kind: Weight}, 2: {kind: Vector}},
	"FusedGemm":                        {0: {kind: Weight}, 1: {kind: Weight}, 2: {kind: Vector}},
	"MatMul":                           {0: {kind: Weight}, 1: {kind: Weight}},
	"FusedMatMul":                      {0: {kind: Weight}, 1: {kind: Weight}},
	"BatchNormalization":               {1: {Vector, true}, 2: {Vector, true}, 3: {Statistic, true}, 4: {Statistic, true}},
	"InstanceNormalization":            {1: {Vector, true}, 2: {Vector, true}},
	"LayerNormalization":               {1: {Vector, true}, 2: {Vector, true}},
	"GroupNormalization":               {1: {Vector, true}, 2: {Vector, true}},
	"RMSNormalization":                 {1: {Vector, true}},
	"SimplifiedLayerNormalization":     {1: {Vector, true}},
	"SkipLayerNormalization":           {2: {Vector, true}, 3: {Vector, true}, 4: {Vector, false}},
	"SkipSimplifiedLayerNormalization": {2: {Vector, true}, 3: {Vector, false}},
	"Gather":                           {0: {kind: Weight}},
	"PRelu":                            {1: {kind: Vector}},
	"LSTM":                             {1: {kind: Weight}, 2: {kind: Weight}, 3: {kind: Vector}},
	"GRU":                              {1: {kind: Weight}, 2: {kind: Weight}, 3: {kind: Vector}},
	"RNN":                              {1: {kind: Weight}, 2: {kind: Weight}, 3: {kind: Vector}},
	"Attention":                        {1: {kind: Weight}, 2: {kind: Vector}},
	"BiasGelu":                         {1: {kind: Vector}},
	"Add":                              {-1: {kind: Vector}},
	"Mul":                              {-1: {kind: Vector}},
	"Einsum":                           {-1: {kind: Weight}},
	"Concat":                           {-1: {kind: Vector}},
}

// views are operators behind which a weight is still a weight.
var views = map[string]bool{"Transpose": true, "Reshape": true, "Cast": true, "Unsqueeze": true, "Squeeze": true, "Expand": true, "Flatten": true, "Identity": true}

// roles follows constants through views to the operators that use them as weights.
func (p *Program) roles(found map[string]*Param) map[string]role {
	origin := map[string]string{}
	for name := range found {
		origin[name] = name
	}
	for _, n := range p.Model.Graph.Nodes {
		if views[n.OpType] && len(n.Inputs) > 0 && len(n.Outputs) > 0 && origin[n.Outputs[0]] == "" {
			if o := origin[n.Inputs[0]]; o != "" {
				origin[n.Outputs[0]] = o
			}
		}
	}
	out := map[string]role{}
	for _, n := range p.Model.Graph.Nodes {
		slots := weightSlots[n.OpType]
		if slots == nil || n.OpType == "Attention" && domain(n.Domain) == "" {
			continue
		}
		for i, in := range n.Inputs {
			name := origin[in]
			if name == "" {
				continue
			}
			r, ok := slots[i]
			if any, loose := slots[-1]; loose {
				r, ok = any, p.learnt(found[name])
			}
			if ok && (out[name].kind == Fixed || r.kind == Statistic) && found[name].tensor.DataType.IsFloat() {
				out[name] = r
			}
		}
	}
	return out
}

// learnt guesses whether a constant of an Add, Mul or Concat was trained: an initializer with several elements that is no mask.
func (p *Program) learnt(c *Param) bool {
	if c.node >= 0 && c.copyOf == "" || c.Size() < 2 || !c.tensor.DataType.IsFloat() {
		return false
	}
	v, err := c.tensor.Float32s()
	if err != nil {
		return false
	}
	low, high := slices.Min(v), slices.Max(v)
	return low > -50 && high < 50 && finite([]float32{low, high})
}

// attrNamed returns a node's attribute, or nil.
func attrNamed(n *onnxio.Node, name string) *onnxio.Attribute {
	for _, a := range n.Attributes {
		if a.Name == name {
			return a
		}
	}
	return nil
}
