package op

import "slices"

// Operators of ONNX Runtime's own domain that optimised files hold.

// Microsoft is the domain of ONNX Runtime's own operators.
const Microsoft = "com.microsoft"

func init() {
	for _, op := range []string{"Gelu", "QuickGelu"} {
		register(Op{Domain: Microsoft, Name: op, Since: 1, Infer: unary(isZero), Note: "element-wise, zero stays zero"})
	}
	register(
		Op{Domain: Microsoft, Name: "BiasGelu", Since: 1, Infer: biasGelu, Train: ".v", Note: "element-wise; bias = the last axis"},
		Op{Domain: Microsoft, Name: "FastGelu", Since: 1, Infer: biasGelu, Note: "element-wise; bias = the last axis"},
		Op{Domain: Microsoft, Name: "FusedMatMul", Since: 1, Infer: fusedMatMul, Graph: GraphMatrix, Layer: &Layer{Weight: 1, Out: 1, Channel: -1, Transposed: "transB", Flipped: "transA", Scaled: true}, Multiply: true, Train: "ww", Note: "as MatMul, with either operand's last two axes swapped"},
	)
}

// biasGelu is Gelu of a sum with a vector along the last axis, which FastGelu may do without.
func biasGelu(c *Call) {
	x, bias := c.Input(0), c.Input(1)
	if x == nil || !x.Ranked || len(x.Shape) == 0 {
		c.unknown("the rank of the input is unknown")
		return
	}
	zero := x.zero
	if bias != nil {
		if len(bias.Shape) != 1 {
			c.unknown("its bias is not a vector")
			return
		}
		c.link(bias, 0, x, len(x.Shape)-1)
		for k := range len(x.Shape) - 1 {
			if c.alive(c.axis(x, k)) {
				zero = nonZero
			}
		}
		if bias.zero != isZero {
			zero = nonZero
		}
	}
	c.pass(0, x).zero = zero
}

// batchInFront returns a matrix operand with its first axis moved after the batch axes where the
// attribute says so; nil where that cannot be followed.
func (c *Call) batchInFront(i int, attribute string) *Value {
	v := c.Input(i)
	if v == nil || len(v.Shape) < 2 {
		return nil
	}
	if c.Int(attribute, 0) == 0 {
		return v
	}
	n := len(v.Shape) - 2
	if n < 1 || c.origins(v) {
		return nil
	}
	out := *v
	out.Shape = append(append(slices.Clone(v.Shape[1:n+1]), v.Shape[0]), v.Shape[n+1])
	out.Axes = append(append(slices.Clone(v.Axes[1:n+1]), v.Axes[0]), v.Axes[n+1])
	return &out
}

func fusedMatMul(c *Call) {
	a, b := c.batchInFront(0, "transBatchA"), c.batchInFront(1, "transBatchB")
	if a == nil || b == nil {
		c.unknown("the rank of an input is unknown or too low, or batch axes of a weight move")
		return
	}
	c.product(a, b, c.Int("transA", 0) != 0, c.Int("transB", 0) != 0)
}

// LayoutDomains are the domains of operators that ONNX Runtime writes for the memory layout of one
// processor, with blocked and reordered weights.
var LayoutDomains = map[string]bool{"com.microsoft.nchwc": true, "com.ms.internal.nhwc": true}

// SaveExtended says how to save a model without operators for one processor.
const SaveExtended = "ONNX Runtime writes such operators at graph_optimization_level ORT_ENABLE_ALL: save the model at ORT_ENABLE_EXTENDED and prune that file"
