package metanet

import (
	"fmt"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"slices"
	"strconv"
	"strings"
)

// linear is y = W x + b with W [out, in] row-major.
type linear struct {
	in, out int
	w, b    []float32
	name    string // of the parameters, without .weight and .bias
}

// stack is linears with SiLU between them, after a LayerNorm without affine where norm is set.
type stack struct {
	norm   bool
	layers []linear
}

func (s *stack) in() int  { return s.layers[0].in }
func (s *stack) out() int { return s.layers[len(s.layers)-1].out }

// width returns the longest vector inside.
func (s *stack) width() int {
	n := 0
	for i := range s.layers {
		n = max(n, s.layers[i].in)
		n = max(n, s.layers[i].out)
	}
	return n
}

// conv is one message-passing layer.
type conv struct {
	lin  [4]linear // lin1..lin4
	down linear
}

// edgeCoder is the encoder and decoder of one edge type.
type edgeCoder struct {
	name     string
	enc, dec stack
}

// Network is a metanetwork.
type Network struct {
	Hidden   int
	Layers   int
	NodeIn   int
	EdgeIn   []int // features of each edge type, in the order of types
	Metadata map[string]string

	nodeEnc, nodeDec stack
	edges            []edgeCoder
	convs            []conv
	inverter         []float32
}

type loader struct {
	f    *safetensors.File
	used map[string]bool
	err  error
}

func (l *loader) linear(name string, in int) linear {
	w, b := l.f.Tensors[name+".weight"], l.f.Tensors[name+".bias"]
	l.used[name+".weight"], l.used[name+".bias"] = true, true
	switch {
	case l.err != nil:
		return linear{}
	case w == nil || b == nil:
		l.err = fmt.Errorf("parameter %s is missing", name)
		return linear{}
	case len(w.Shape) != 2 || len(b.Shape) != 1 || b.Shape[0] != w.Shape[0] || (in > 0 && w.Shape[1] != in):
		l.err = fmt.Errorf("parameter %s: weight %v and bias %v, want %d inputs", name, w.Shape, b.Shape, in)
		return linear{}
	case w.Shape[0] < 1 || w.Shape[1] < 1:
		l.err = fmt.Errorf("parameter %s: weight %v; want at least one input and one output", name, w.Shape)
		return linear{}
	}
	out := linear{in: w.Shape[1], out: w.Shape[0], name: name}
	var errW, errB error
	out.w, errW = w.Floats()
	out.b, errB = b.Floats()
	if errW != nil || errB != nil {
		l.err = fmt.Errorf("parameter %s: want floats", name)
	}
	return out
}

// stack reads a Linear called name, or the Linears name.0, name.2, ... of a Sequential.
func (l *loader) stack(name string, norm bool) stack {
	s := stack{norm: norm}
	if l.f.Tensors[name+".weight"] != nil {
		s.layers = []linear{l.linear(name, 0)}
		return s
	}
	var at []int
	for n := range l.f.Tensors {
		if rest, ok := strings.CutPrefix(n, name+"."); ok && strings.HasSuffix(rest, ".weight") {
			if i, err := strconv.Atoi(strings.TrimSuffix(rest, ".weight")); err == nil {
				at = append(at, i)
			}
		}
	}
	slices.Sort(at)
	in := 0
	for _, i := range at {
		x := l.linear(fmt.Sprintf("%s.%d", name, i), in)
		s.layers = append(s.layers, x)
		in = x.out
	}
	if len(at) == 0 && l.err == nil {
		l.err = fmt.Errorf("parameter %s is missing", name)
	}
	return s
}

// has reports whether there is a parameter below name.
func (l *loader) has(name string) bool {
	for n := range l.f.Tensors {
		if strings.HasPrefix(n, name+".") {
			return true
		}
	}
	return false
}

// edgeTypes lists the suffixes of the edge encoders: those that the metadata name, or else none, or _256, _3, _1 and the like, widest first, which is the order of types.
func (l *loader) edgeTypes() []string {
	if names := l.f.Metadata["edge_types"]; names != "" {
		var out []string
		for _, n := range strings.Split(names, ",") {
			out = append(out, "_"+n)
		}
		return out
	}
	found := map[int]bool{}
	for n := range l.f.Tensors {
		if rest, ok := strings.CutPrefix(n, "edgeEnc_"); ok {
			if k, err := strconv.Atoi(strings.SplitN(rest, ".", 2)[0]); err == nil {
				found[k] = true
			}
		}
	}
	if len(found) == 0 {
		return []string{""}
	}
	var widths []int
	for k := range found {
		widths = append(widths, k)
	}
	slices.Sort(widths)
	slices.Reverse(widths)
	var out []string
	for _, k := range widths {
		out = append(out, fmt.Sprintf("_%d", k))
	}
	return out
}

// Load reads a metanetwork under the reference's parameter names. Sizes follow from the parameters; `mlps.*` are never used. An edge type that the metadata's "edge_types" names may lack a decoder: its edges have no
// parameters.
func Load(f *safetensors.File) (*Network, error) {
	if err := readable(f.Metadata); err != nil {
		return nil, err
	}
	l := &loader{f: f, used: map[string]bool{}}
	n := &Network{Metadata: f.Metadata}
	n.nodeEnc, n.nodeDec = l.stack("nodeEnc", false), l.stack("nodeDec", true)
	if l.err != nil {
		return nil, l.err
	}
	n.Hidden, n.NodeIn = n.nodeEnc.out(), n.nodeEnc.in()
	for _, suffix := range l.edgeTypes() {
		e := edgeCoder{name: suffix, enc: l.stack("edgeEnc"+suffix, false)}
		if f.Metadata["edge_types"] == "" || l.has("edgeDec"+suffix) {
			e.dec = l.stack("edgeDec"+suffix, true)
		}
		if l.err != nil {
			return nil, l.err
		}
		if e.enc.out() != n.Hidden || len(e.dec.layers) > 0 && (e.dec.in() != n.Hidden || e.dec.out() != e.enc.in()) {
			return nil, fmt.Errorf("parameter edgeEnc%s: %d to %d features, the hidden size is %d", suffix, e.enc.in(), e.enc.out(), n.Hidden)
		}
		n.edges = append(n.edges, e)
		n.EdgeIn = append(n.EdgeIn, e.enc.in())
	}
	for f.Tensors[fmt.Sprintf("convs.%d.downlin.weight", n.Layers)] != nil {
		c := conv{down: l.linear(fmt.Sprintf("convs.%d.downlin", n.Layers), 4*n.Hidden)}
		for k := range c.lin {
			c.lin[k] = l.linear(fmt.Sprintf("convs.%d.lin%d.0", n.Layers, k+1), n.Hidden)
		}
		n.convs = append(n.convs, c)
		n.Layers++
	}
	if l.err != nil {
		return nil, l.err
	}
	if n.nodeDec.in() != n.Hidden || n.nodeDec.out() != n.NodeIn || n.Layers == 0 {
		return nil, fmt.Errorf("nodeDec gives %d features of %d, %d layers", n.nodeDec.out(), n.NodeIn, n.Layers)
	}
	return n, n.checkRest(l)
}

func (n *Network) checkRest(l *loader) error {
	for i := range n.convs {
		for _, x := range append(n.convs[i].lin[:], n.convs[i].down) {
			if x.out != n.Hidden {
				return fmt.Errorf("convs.%d: a linear layer with %d outputs, the hidden size is %d", i, x.out, n.Hidden)
			}
		}
	}
	n.inverter = make([]float32, n.Hidden)
	for i := range n.inverter {
		n.inverter[i] = 1
		if i >= n.Hidden/2 {
			n.inverter[i] = -1
		}
	}
	if t := l.f.Tensors["edgeInverter"]; t != nil {
		v, err := t.Floats()
		if err != nil || len(v) != n.Hidden {
			return fmt.Errorf("parameter edgeInverter: %v, want [%d]", t.Shape, n.Hidden)
		}
		n.inverter = v
		l.used["edgeInverter"] = true
	}
	for name := range l.f.Tensors {
		if !l.used[name] && !strings.HasPrefix(name, "mlps.") {
			return fmt.Errorf("parameter %s is not one of a metanetwork", name)
		}
	}
	return nil
}

// Parameters returns the number of parameters that are used.
func (n *Network) Parameters() int {
	count := 0
	add := func(ls ...linear) {
		for _, l := range ls {
			count += len(l.w) + len(l.b)
		}
	}
	add(n.nodeEnc.layers...)
	add(n.nodeDec.layers...)
	for i := range n.edges {
		add(n.edges[i].enc.layers...)
		add(n.edges[i].dec.layers...)
	}
	for i := range n.convs {
		add(n.convs[i].lin[:]...)
		add(n.convs[i].down)
	}
	return count
}
