package xla

import (
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

func init() {
	rules["Gemm"] = one(gemm)
	rules["MatMul"] = one(func(o *nodeOp) *value { return plain(o.e.matmul(o.x(0), o.x(1))) })
	rules["com.microsoft.FastGelu"] = one(func(o *nodeOp) *value {
		x := o.x(0)
		if o.has(1) {
			x = Add(x, BroadcastToDims(ExpandLeftToRank(o.x(1), x.Rank()), x.Shape().Dimensions...))
		}
		return plain(gelu(x, true))
	})
	rules["com.microsoft.FusedMatMul"] = one(func(o *nodeOp) *value {
		x, y := o.x(0), o.x(1)
		if o.intOr("transBatchA", 0) != 0 {
			x = batchInFront(x)
		}
		if o.intOr("transBatchB", 0) != 0 {
			y = batchInFront(y)
		}
		if o.intOr("transA", 0) != 0 {
			x = Transpose(x, -1, -2)
		}
		if o.intOr("transB", 0) != 0 {
			y = Transpose(y, -1, -2)
		}
		return plain(MulScalar(o.e.matmul(x, y), o.floatOr("alpha", 1)))
	})
}

// batchInFront moves the first axis behind the batch axes, in front of the last.
func batchInFront(x *Node) *Node {
	n := x.Rank()
	return TransposeAllAxes(x, append(axesFrom(1, n-1), 0, n-1)...)
}

// gemm is alpha * A' * B' + beta * C.
func gemm(o *nodeOp) *value {
	contract := func(name string, d int) int {
		if o.intOr(name, 0) != 0 {
			return 1 - d
		}
		return d
	}
	y := o.e.dot(o.x(0), []int{contract("transA", 1)}, nil, o.x(1), []int{contract("transB", 0)}, nil)
	if a := o.floatOr("alpha", 1); a != 1 {
		y = MulScalar(y, a)
	}
	if o.has(2) {
		c := o.x(2)
		if b := o.floatOr("beta", 1); b != 1 {
			c = MulScalar(c, b)
		}
		y, c = aligned(y, c)
		y = Add(y, c)
	}
	return plain(y)
}

// dot is a product over the given axes, in bfloat16 where the graph is in half precision.
func (e *env) dot(x *Node, cx, bx []int, y *Node, cy, by []int) *Node {
	if e.half && x.DType() == dtypes.Float32 {
		return ConvertDType(DotGeneral(ConvertDType(x, dtypes.BFloat16), cx, bx, ConvertDType(y, dtypes.BFloat16), cy, by), dtypes.Float32)
	}
	return DotGeneral(x, cx, bx, y, cy, by)
}

// matmul is numpy's product of stacks of matrices.
func (e *env) matmul(x, y *Node) *Node {
	row, column := x.Rank() == 1, y.Rank() == 1
	if row {
		x = InsertAxes(x, 0)
	}
	if column {
		y = InsertAxes(y, -1)
	}
	z := e.stacked(x, y)
	if row {
		z = Squeeze(z, -2)
	}
	if column {
		z = Squeeze(z, -1)
	}
	return z
}

func (e *env) stacked(x, y *Node) *Node {
	dx, dy := x.Shape().Dimensions, y.Shape().Dimensions
	if y.Rank() == 2 { // one matrix for all: a product of two matrices
		rows := product(dx[:len(dx)-1])
		z := e.dot(Reshape(x, rows, dx[len(dx)-1]), []int{1}, nil, y, []int{0}, nil)
		return Reshape(z, append(slices.Clone(dx[:len(dx)-1]), dy[1])...)
	}
	r := max(len(dx), len(dy))
	x, y = ExpandLeftToRank(x, r), ExpandLeftToRank(y, r)
	dx, dy = slices.Clone(x.Shape().Dimensions), slices.Clone(y.Shape().Dimensions)
	for i := range r - 2 {
		n := max(dx[i], dy[i])
		if dx[i] == 0 || dy[i] == 0 {
			n = 0
		}
		dx[i], dy[i] = n, n
	}
	x, y = broadcast(x, dx), broadcast(y, dy)
	return e.dot(x, []int{r - 1}, axesFrom(0, r-2), y, []int{r - 2}, axesFrom(0, r-2))
}
