package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// A normalisation over all channels as one group, as exporters write it out: a Reshape to [N, 1, -1], an InstanceNormalization, and a Reshape to the shape that a Shape of the same value gives. Where the file does not tell the sizes,
// nobody can say which elements of the flat axis are a channel's, so channels are cut around the three nodes: zeros take the place of removed channels in front of them, and leave again after them.

// flattens reports whether the Reshape begins such a normalisation.
func (c *Call) flattens() bool {
	x := c.Input(0)
	if c.reading || c.Labels.Flat || len(c.Out) == 0 || c.Out[0] == nil || x == nil || x.Const != nil || x.Static || len(x.Shape) < 3 || x.Type != onnxio.Float || x.zero != isZero || c.Versions[""] < 11 || c.Concealed[c.Node] || !c.stands(c.Node) {
		return false
	}
	known := x.Plain && !slices.ContainsFunc(x.Shape[2:], func(d dim.Dim) bool { return !d.IsNum() })
	if target, ok := c.Input(1).ints(); known || !ok || !slices.Equal(target, []int64{0, 1, -1}) || c.Int("allowzero", 0) != 0 || !x.Shape[1].IsNum() || !c.alive(c.axis(x, 1)) {
		return false
	}
	norm := c.onlyReader(c.outName(0), "InstanceNormalization")
	if norm == nil {
		return false
	}
	back := c.onlyReader(norm.Outputs[0], "Reshape")
	return back != nil && len(back.Inputs) == 2 && slices.ContainsFunc(c.ReadersOf(x.Name), func(n *onnxio.Node) bool {
		return n.OpType == "Shape" && n.Domain == "" && wholeShape(n) && len(n.Outputs) == 1 && n.Outputs[0] == back.Inputs[1]
	})
}

// wholeShape reports whether a Shape gives all lengths.
func wholeShape(n *onnxio.Node) bool {
	return !slices.ContainsFunc(n.Attributes, func(a *onnxio.Attribute) bool { return a.Name != "start" || a.I != 0 })
}

// onlyReader is the node of the given operator that reads a value as its first input, if nobody else does.
func (c *Call) onlyReader(name, op string) *onnxio.Node {
	readers := c.ReadersOf(name)
	if len(readers) != 1 || c.isOutput(name) {
		return nil
	}
	n := readers[0]
	if n.OpType != op || n.Domain != "" || len(n.Outputs) != 1 || n.Inputs[0] != name || slices.Contains(n.Inputs[1:], name) {
		return nil
	}
	return n
}

// isOutput reports whether a value is an output of the graph or is read inside a subgraph.
func (c *Call) isOutput(name string) bool {
	if slices.ContainsFunc(c.model.Graph.Outputs, func(v *onnxio.ValueInfo) bool { return v.Name == name }) {
		return true
	}
	return slices.ContainsFunc(c.model.Graph.Nodes, func(n *onnxio.Node) bool {
		bodies := slices.ContainsFunc(n.Attributes, func(a *onnxio.Attribute) bool { return len(a.Subgraphs()) > 0 })
		return bodies && slices.Contains(dependencies(n), name)
	})
}

// flattenedWhole gives the Reshape in front its shape; its flat axis holds the original's channels.
func (c *Call) flattenedWhole(x *Value, shape []dim.Dim) {
	for k := 2; k < len(x.Shape); k++ {
		c.freeze(x, k, "statistics are taken over this axis")
	}
	c.set(0, x.Type, shape, c.axis(x, 0)).zero = nonZero
	c.flat[c.Out[0]] = x
}

// unflattens gives the Reshape after the normalisation the shape and channels of the value that was normalised.
func (c *Call) unflattens() bool {
	if len(c.In) == 0 || c.In[0] == nil || c.flat[c.In[0]] == nil || len(c.Out) == 0 || c.Out[0] == nil {
		return false
	}
	x := c.flat[c.In[0]]
	c.shapeIn.set(1, true)
	axes := make([][]label.Label, len(x.Shape))
	axes[0], axes[1] = c.axis(x, 0), c.axis(x, 1)
	c.set(0, x.Type, slices.Clone(x.Shape), axes...).zero = nonZero
	return true
}

// patchReshape puts zeros in the place of removed channels in front of a flat normalisation and takes them away after it.
func patchReshape(p *Patching) {
	if len(p.Old.Out) == 0 || p.Old.Out[0] == nil || p.Old.Input(0) == nil {
		patchShapeInput(p)
		return
	}
	name := p.Old.outName(0)
	if x := p.Old.flat[p.Old.Out[0]]; x != nil {
		if removed := x.Shape[1].N - p.in[0].Shape[1].N; removed != 0 {
			pads := make([]int64, 2*len(x.Shape))
			pads[len(x.Shape)+1] = removed
			if padded := p.through("Pad", name+"/padded", p.in[0].Name, pads); p.Err == nil {
				p.rewire(0, padded)
			}
		}
		return
	}
	x := p.Old.flat[p.Old.In[0]]
	if x == nil {
		patchShapeInput(p)
		return
	}
	after := p.want(0)[1]
	if after == x.Shape[1] {
		return
	}
	if p.setVector(1, x.Shape); p.Err != nil {
		return
	}
	full := *p.Node
	full.Name = p.fresh(name + "/full")
	full.Outputs = []string{full.Name}
	if p.insert(&full); p.Err != nil {
		return
	}
	p.Node.OpType, p.Node.Attributes = "Slice", nil
	p.Node.Inputs = []string{full.Name, p.vector(name+"/starts", 0), p.vector(name+"/ends", after.N), p.vector(name+"/axes", 1)}
	p.Changed = true
}
