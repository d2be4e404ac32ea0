package xla

import (
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

func init() { rules["Einsum"] = one(einsum) }

// einsum is a sum of products over named axes; operands are multiplied one after the other.
func einsum(o *nodeOp) *value {
	equation := o.attr("equation")
	if equation == nil {
		o.fail("no equation")
	}
	left, right, explicit := strings.Cut(strings.ReplaceAll(string(equation.S), " ", ""), "->")
	parts := strings.Split(left, ",")
	if len(parts) != len(o.in) {
		o.fail("an equation of %d operands, %q", len(parts), left)
	}
	x := make([]*Node, len(parts))
	most := 0
	for i, p := range parts {
		x[i] = o.x(i)
		if strings.Contains(p, "...") {
			most = max(most, x[i].Rank()-len(p)+3)
		}
	}
	every := unused(left, most)
	for i, p := range parts {
		if strings.Contains(p, "...") {
			n := x[i].Rank() - len(p) + 3
			parts[i] = strings.Replace(p, "...", every[most-n:], 1)
		}
	}
	if right = strings.Replace(right, "...", every, 1); !explicit {
		right = every + single(left)
	}
	for i := range x {
		x[i], parts[i] = diagonal(x[i], parts[i])
	}
	for len(x) > 1 {
		kept := right
		if len(x) > 2 {
			kept = named(parts[0]+parts[1], right+strings.Join(parts[2:], ""))
		}
		x[1], parts[1] = einsumTwo(x[:2], parts[:2], kept), kept
		x, parts = x[1:], parts[1:]
	}
	return plain(einsumOne(x[0], parts[0], right))
}

// named are the letters that both name, each once.
func named(a, b string) string {
	out := ""
	for _, l := range a {
		if strings.ContainsRune(b, l) && !strings.ContainsRune(out, l) {
			out += string(l)
		}
	}
	return out
}

func einsumTwo(x []*Node, parts []string, right string) *Node {
	for i := range x { // what broadcasts along an axis goes without it
		other := 1 - i
		for k := len(parts[i]) - 1; k >= 0; k-- {
			at := strings.IndexByte(parts[other], parts[i][k])
			if x[i].Shape().Dimensions[k] == 1 && at >= 0 && x[other].Shape().Dimensions[at] != 1 {
				x[i], parts[i] = Squeeze(x[i], k), parts[i][:k]+parts[i][k+1:]
			}
		}
	}
	return Einsum(strings.Join(parts, ",")+"->"+right, x[0], x[1])
}

// diagonal takes the places where axes of one name have the same index.
func diagonal(x *Node, names string) (*Node, string) {
	for k := len(names) - 1; k >= 0; k-- {
		if first := strings.IndexByte(names, names[k]); first < k {
			same := Equal(Iota(x.Graph(), shapes.Make(dtypes.Int32, x.Shape().Dimensions...), first), Iota(x.Graph(), shapes.Make(dtypes.Int32, x.Shape().Dimensions...), k))
			x, names = ReduceSum(Where(same, x, ZerosLike(x)), k), names[:k]+names[k+1:]
		}
	}
	return x, names
}

// einsumOne sums over the axes that the result does not name, and orders the rest.
func einsumOne(x *Node, from, to string) *Node {
	var gone []int
	left := ""
	for k, l := range from {
		if !strings.ContainsRune(to, l) {
			gone = append(gone, k)
		} else {
			left += string(l)
		}
	}
	if len(gone) > 0 {
		x = ReduceSum(x, gone...)
	}
	perm := make([]int, len(to))
	for k, l := range to {
		perm[k] = strings.IndexRune(left, l)
	}
	return TransposeAllAxes(x, perm...)
}

// unused are n letters that an equation does not name.
func unused(equation string, n int) string {
	out := ""
	for l := 'a'; l <= 'z' && len(out) < n; l++ {
		if !strings.ContainsRune(equation, l) {
			out += string(l)
		}
	}
	return out
}

// single are the letters that stand once, in order: the result of an equation that does not name it.
func single(equation string) string {
	var out []byte
	for l := byte('A'); l <= 'z'; l++ {
		if strings.Count(equation, string(l)) == 1 && l != '.' && l != ',' {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return string(out)
}
