package metanet

// Linear is y = W x + b with W [Out, In] row-major, under the name of its parameters (Name.weight, Name.bias).
type Linear struct {
	Name    string
	In, Out int
	W, B    []float32
}

// Stack is linears with SiLU between them, after a LayerNorm without affine (epsilon 1e-5) where Norm is set.
type Stack struct {
	Norm   bool
	Layers []Linear
}

// Layer is one layer of message passing: Lin gives a, z, p and q of the paper's equations 4 to 7, Down maps the four statistics of the messages to the hidden size.
type Layer struct {
	Lin  [4]Linear
	Down Linear
}

// Structure is a metanetwork written out, for other engines.
type Structure struct {
	Hidden, NodeIn   int
	NodeEnc, NodeDec Stack
	EdgeEnc, EdgeDec []Stack // by edge type; a decoder without layers for edges without parameters
	Layers           []Layer
	Inverter         []float32 // [Hidden], of the second pass
}

// Structure returns the metanetwork written out; slices alias its parameters.
func (n *Network) Structure() *Structure {
	s := &Structure{Hidden: n.Hidden, NodeIn: n.NodeIn, NodeEnc: n.nodeEnc.export(), NodeDec: n.nodeDec.export(), Inverter: n.inverter}
	for i := range n.edges {
		s.EdgeEnc, s.EdgeDec = append(s.EdgeEnc, n.edges[i].enc.export()), append(s.EdgeDec, n.edges[i].dec.export())
	}
	for i := range n.convs {
		l := Layer{Down: n.convs[i].down.export()}
		for k := range l.Lin {
			l.Lin[k] = n.convs[i].lin[k].export()
		}
		s.Layers = append(s.Layers, l)
	}
	return s
}

func (l *linear) export() Linear { return Linear{l.name, l.in, l.out, l.w, l.b} }

func (s *stack) export() Stack {
	out := Stack{Norm: s.norm}
	for i := range s.layers {
		out.Layers = append(out.Layers, s.layers[i].export())
	}
	return out
}

// Check reports the first thing in which a graph does not fit the metanetwork.
func (n *Network) Check(g *Graph) error { return g.check(n.NodeIn, n.EdgeIn) }
