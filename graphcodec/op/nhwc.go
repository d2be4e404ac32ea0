package op

import "github.com/metaprune/metaprune/graphcodec/dim"

// Convolutions with the channels last, as ONNX Runtime writes them for some processors: nothing of
// them is pruned, but their shapes and their work are known.
func init() {
	for _, op := range []string{"NhwcConv", "NhwcFusedConv"} {
		register(Op{Domain: Microsoft, Name: op, Since: 1, Infer: nhwcConv, Multiply: true, Note: "cannot be pruned; shape and cost are known"})
	}
}

func nhwcConv(c *Call) {
	c.unknown("has its channels last")
	x, w := c.Input(0), c.Input(1)
	if x == nil || w == nil || len(x.Shape) < 3 || len(w.Shape) != len(x.Shape) {
		return
	}
	dims, ok := dim.Numbers(w.Shape)
	if !ok {
		return
	}
	n := len(dims) - 2
	kernel := make([]int64, n)
	for i := range kernel {
		kernel[i] = int64(dims[i+2])
	}
	win, ok := c.window(kernel, n)
	if !ok {
		return
	}
	shape := []dim.Dim{x.Shape[0]}
	for i := range n {
		shape = append(shape, win.out(i, x.Shape[i+1]))
	}
	c.cost(dim.Product(shape).N * dim.Product(w.Shape).N)
	c.set(0, x.Type, append(shape, w.Shape[0])).zero = nonZero
}
