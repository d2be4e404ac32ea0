package graphcodec

// Operators of ONNX Runtime's own domain that optimised files hold.

const microsoft = "com.microsoft"

func init() {
	for _, op := range []string{"Gelu", "QuickGelu"} {
		register(rule{domain: microsoft, op: op, since: 1, infer: unary(isZero), note: "element-wise, zero stays zero"})
	}
	register(
		rule{domain: microsoft, op: "BiasGelu", since: 1, infer: biasGelu, note: "element-wise; bias = the last axis"},
		rule{domain: microsoft, op: "FastGelu", since: 1, infer: biasGelu, note: "element-wise; bias = the last axis"},
		rule{domain: microsoft, op: "FusedMatMul", since: 1, infer: fusedMatMul, note: "as MatMul, with either operand's last two axes swapped"},
	)
}

// biasGelu is Gelu of a sum with a vector along the last axis, which FastGelu may do without.
func biasGelu(c *call) {
	x, bias := c.input(0), c.input(1)
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

func fusedMatMul(c *call) {
	if c.int("transBatchA", 0) != 0 || c.int("transBatchB", 0) != 0 {
		c.unknown("swaps batch axes")
		return
	}
	a, b := c.input(0), c.input(1)
	if a == nil || b == nil || len(a.Shape) < 2 || len(b.Shape) < 2 {
		c.unknown("the rank of an input is unknown or below 2")
		return
	}
	c.product(a, b, c.int("transA", 0) != 0, c.int("transB", 0) != 0)
	c.macs.uncounted = true
}
