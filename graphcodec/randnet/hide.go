package randnet

import "github.com/metaprune/metaprune/onnxio"

// Hiding is how the rank of a node's input is hidden.
type Hiding int

// Ways of hiding a rank.
const (
	Reshaped Hiding = iota + 1 // by a Reshape to the shape it has, of which nothing is known until the model runs
	Mystery                    // by an operator of a domain that no runtime has
)

// MysteryDomain is that domain.
const MysteryDomain = "org.example.mystery"

// hidden hides the rank of some inputs, weights among them. The draw does not depend on it.
func (n *net) hidden(in []string) []string {
	if n.Style.Hide == 0 {
		return in
	}
	out := append([]string{}, in...)
	for i, name := range out {
		if name != "" && n.veil.IntN(6) == 0 {
			out[i] = n.hide(name)
		}
	}
	return out
}

func (n *net) hide(name string) string {
	add := func(op string, attrs []*onnxio.Attribute, in ...string) string {
		out := n.fresh("hidden" + op)
		n.g.Nodes = append(n.g.Nodes, &onnxio.Node{OpType: op, Name: "node_" + out, Inputs: in, Outputs: []string{out}, Attributes: attrs})
		return out
	}
	if n.Style.Hide == Mystery {
		out := add("Mystery", nil, name)
		n.g.Nodes[len(n.g.Nodes)-1].Domain = MysteryDomain
		return out
	}
	shape := add("Shape", nil, name)
	zero := onnxio.NewInt64s(n.fresh("zero"), []int64{0})
	n.g.Initializers = append(n.g.Initializers, zero)
	all := add("Greater", nil, shape, zero.Name) // every length is above 0, which the rules do not know
	return add("Reshape", nil, name, add("Compress", []*onnxio.Attribute{integer("axis", 0)}, shape, all))
}
