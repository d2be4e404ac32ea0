package op

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// ownZeros returns what the node reads in the place of v: exporters keep one vector of zeros for
// all biases of a length, which no more makes their channels one than equal numbers elsewhere
// would. Each reader gets a view of such a vector
// with labels of its own, which a plan need not name: zeros that leave are zeros in the original.
// Vectors that others see too, whoever runs the model or a node that stands for a function's or a
// branch's, stay tied.
func (a *Analyzer) ownZeros(n *onnxio.Node, v *Value) *Value {
	if v.Const == nil || !v.Type.IsFloat() || len(v.Shape) != 1 || v.Shape[0].N < 2 || !a.stands(n) {
		return v
	}
	shared, known := a.zeros[v.Name]
	if !known {
		if a.zeros == nil {
			a.zeros = map[string]bool{}
		}
		shared = len(a.ReadersOf(v.Name)) > 1 && !a.given[v.Name] && allZero(v.Const.Tensor)
		a.zeros[v.Name] = shared
	}
	if !shared {
		return v
	}
	own := constValue(v.Name, v.Const.Tensor, v.Const.Node)
	own.Const.Own = true
	return own
}

func allZero(t *onnxio.Tensor) bool {
	data, err := t.Bytes()
	return err == nil && !slices.ContainsFunc(data, func(b byte) bool { return b != 0 })
}

// ShortenZeros gives the node vectors of zeros of the length that its own channels have left.
func (p *Patching) ShortenZeros() {
	for i, v := range p.Old.In {
		if v == nil || v.Const == nil || !v.Const.Own {
			continue
		}
		keep := p.Keep(v.Const.Axes[0])
		if keep == nil {
			continue
		}
		t := *v.Const.Tensor
		if p.Err = t.Cut([][]int{keep}); p.Err != nil {
			return
		}
		if p.setInput(i, &t); p.Err != nil {
			return
		}
	}
}
