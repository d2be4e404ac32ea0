package xla

import . "github.com/gomlx/gomlx/core/graph"

func init() {
	rules["com.microsoft.FusedConv"] = one(func(o *nodeOp) *value {
		y := convRule(o)
		if y.last != nil && !o.has(3) {
			return channelsLast(o.activated(y.last))
		}
		n := o.e.node(y)
		if o.has(3) {
			n = Add(n, o.x(3))
		}
		return plain(o.activated(n))
	})
	rules["com.microsoft.FusedGemm"] = one(func(o *nodeOp) *value { return plain(o.activated(o.e.node(gemm(o)))) })
}

// activated applies the activation that ONNX Runtime has fused into the node, whose numbers are in a list or in attributes of their own.
func (o *nodeOp) activated(x *Node) *Node {
	number := func(i int, name string, d float64) float64 {
		if a := o.attr("activation_params"); a != nil && i < len(a.Floats) {
			return float64(a.Floats[i])
		}
		return o.floatOr("activation_"+name, d)
	}
	switch name := o.textOr("activation", ""); name {
	case "":
		return x
	case "Relu", "Tanh", "Sigmoid":
		return unary[name](o, x)
	case "LeakyRelu":
		return Where(positive(x), x, MulScalar(x, number(0, "alpha", .01)))
	case "HardSigmoid":
		return hardSigmoid(x, number(0, "alpha", .2), number(1, "beta", .5))
	case "Clip":
		return ClipScalar(x, number(0, "min", -1e38), number(1, "max", 1e38))
	default:
		o.fail("activation %q", name)
		return nil
	}
}
