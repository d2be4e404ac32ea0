package op

// What ONNX Runtime writes when it saves an optimised model: a layer with the sum and the
// activation that follow it, in one node.
func init() {
	register(
		Op{Domain: Microsoft, Name: "FusedConv", Since: 1, Infer: fusedConv, Patch: patchGroup, Graph: GraphConv, Layer: &Layer{Weight: 1, Bias: 2, In: 1, Channel: 1, Groups: "group", Plain: "Conv", Added: 3}, Multiply: true, Train: ".wv", Note: "as Conv; what is added to its output joins it"},
		Op{Domain: Microsoft, Name: "FusedGemm", Since: 1, Infer: fusedGemm, Graph: GraphMatrix, Layer: &Layer{Weight: 1, Bias: 2, Out: 1, Channel: -1, Transposed: "transB", Flipped: "transA", Plain: "Gemm"}, Multiply: true, Train: "wwv", Note: "as Gemm"},
	)
}

func fusedConv(c *Call) {
	conv(c)
	y, z := c.Result(0), c.Input(3)
	if !y.Ranked {
		return
	}
	if z != nil {
		if !z.Ranked || len(z.Shape) != len(y.Shape) {
			c.unknown("the shape of what is added does not fit")
			return
		}
		for k := range y.Shape {
			c.join(z, k, y.Axes[k])
		}
		if z.zero != isZero {
			y.zero = nonZero
		}
	}
	c.activated(y)
}

func fusedGemm(c *Call) {
	gemm(c)
	if y := c.Result(0); y.Ranked {
		c.activated(y)
	}
}

// activated notes what the activation that is named in the node makes of zeros.
func (c *Call) activated(y *Value) {
	switch name := c.str("activation", ""); {
	case name == "", Describe("", name).Activates != nil && Describe("", name).KeepsZero:
	case name == "Clip":
		if a := c.attr("activation_params"); a == nil || len(a.Floats) != 2 || a.Floats[0] > 0 || a.Floats[1] < 0 {
			y.zero = nonZero
		}
	default:
		y.zero = nonZero
	}
}
