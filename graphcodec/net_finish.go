package graphcodec

import (
	"math"

	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// reader reads the elements of a constant as numbers.
type reader struct {
	raw   []byte
	width int
	read  func([]byte) float64
}

func (r reader) at(i int) float64 { return r.read(r.raw[i*r.width:]) }

func newReader(c *op.Constant) (reader, error) {
	read, width, err := onnxio.FloatReader(c.Tensor.DataType)
	if err != nil {
		return reader{}, err
	}
	raw, err := c.Tensor.Bytes()
	return reader{raw, width, read}, err
}

// rootMeanSquare returns the RMS of a constant's elements, 1 where all are zero.
func rootMeanSquare(c *op.Constant) (float64, error) {
	r, err := newReader(c)
	if err != nil {
		return 0, err
	}
	var lanes [4]float64
	n := len(r.raw) / r.width
	for i := range n {
		v := r.at(i)
		lanes[i&3] += float64(v * v)
	}
	sum := (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return 0, op.Malformed("tensor %q: NaN, Inf or numbers too large; a metanetwork needs finite weights", c.Name)
	}
	if sum == 0 {
		return 1, nil
	}
	return math.Sqrt(sum / float64(n)), nil
}

// finish numbers the nodes, scales the blocks and fills in the node features.
func (b *netBuilder) finish() (*Network, error) {
	n := &Network{Scheme: b.scheme, F: len(b.scheme.Nodes), Analysis: b.a}
	for _, v := range b.a.Model.Graph.Outputs {
		if p := b.from[b.a.Analyzer.Values[v.Name]]; p != nil {
			for _, s := range p.main {
				if s.size > 0 {
					b.owner[s.base].output = true
				}
			}
		}
	}
	number := make([]int32, len(b.owner))
	for _, s := range b.sets {
		if s.into == nil {
			for i := range s.size {
				number[s.base+i] = int32(n.N + i)
			}
			n.Layers = append(n.Layers, NodeSet{s.name, s.kind, n.N, s.size, s.depth, b.a.GroupOfAxis(s.labels)})
			n.N += s.size
		}
	}
	for _, s := range b.sets {
		if s.into != nil {
			copy(number[s.base:s.base+s.size], number[s.into.base:])
		}
	}
	if err := b.finishBlocks(n, number); err != nil {
		return nil, err
	}
	n.Nodes = make([]float32, n.N*n.F)
	for _, s := range b.sets {
		if s.into != nil {
			continue
		}
		if err := b.features(n, s, int(number[s.base])); err != nil {
			return nil, err
		}
	}
	if !b.ref {
		n.fans()
	}
	return n, nil
}

func (b *netBuilder) finishBlocks(n *Network, number []int32) error {
	for _, e := range b.blocks {
		e.Out, e.In, e.Scale = int(number[e.Out]), int(number[e.In]), 1
		if e.Const != nil {
			rms, err := b.rmsOf(e.Const)
			if err != nil {
				return err
			}
			if !b.ref {
				e.Scale = float32(rms)
			}
		}
		n.Blocks = append(n.Blocks, *e)
	}
	return nil
}

func (b *netBuilder) rmsOf(c *op.Constant) (float64, error) {
	if v, ok := b.rms[c]; ok {
		return v, nil
	}
	v, err := rootMeanSquare(c)
	b.rms[c] = v
	return v, err
}

// slotValues reads the elements in one slot of a set's nodes; ok is false where there are none.
func (b *netBuilder) slotValues(s *nodeSet, k slot) (v []float64, ok bool, err error) {
	readers := map[*op.Constant]reader{}
	if s.slots[k] == nil {
		return nil, false, nil
	}
	v = make([]float64, s.size)
	for i, ref := range s.slots[k] {
		if ref.c == nil {
			continue
		}
		r, have := readers[ref.c]
		if !have {
			if r, err = newReader(ref.c); err != nil {
				return nil, false, err
			}
			readers[ref.c] = r
		}
		ok = true
		if v[i] = r.at(int(ref.index)); math.IsNaN(v[i]) || math.IsInf(v[i], 0) {
			return nil, false, op.Malformed("tensor %q: NaN or Inf at element %d; a metanetwork needs finite weights", ref.c.Name, ref.index)
		}
	}
	return v, ok, nil
}

// defaults are the features of nodes without parameters.
var defaults = [numSlots]float32{1, 0, 0, 1, 0, 1, 0, 0, 1}

// features writes the node features of a set whose first node is at.
func (b *netBuilder) features(n *Network, s *nodeSet, at int) error {
	var values [numSlots][]float64
	var has [numSlots]bool
	for k := range numSlots {
		var err error
		if values[k], has[k], err = b.slotValues(s, k); err != nil {
			return err
		}
	}
	scale, err := b.slotScales(s, values)
	if err != nil {
		return err
	}
	for k := range numSlots {
		f := b.featureOf(k, has)
		if f < 0 {
			continue
		}
		for i := range s.size {
			node := at + i
			var ref slotRef
			if s.slots[k] != nil {
				ref = s.slots[k][i]
			}
			if ref.c == nil {
				n.Nodes[node*n.F+f] = defaults[k]
				continue
			}
			n.Nodes[node*n.F+f] = float32(values[k][i] / float64(scale[k]))
			fixed := ref.fixed || !b.ref && (k == runningMean || k == runningVar)
			n.params = append(n.params, param{int32(f), int32(node), ref.c, ref.index, scale[k], fixed})
		}
	}
	if !b.ref {
		b.flags(n, s, at, has[normWeight])
	}
	return nil
}

// featureOf returns the feature in which a slot is shown, -1 for none.
func (b *netBuilder) featureOf(k slot, has [numSlots]bool) int {
	switch {
	case k < layerBias:
		if b.ref && k == normBias && has[layerBias] && !has[normBias] {
			return -1 // the layer's bias stands there
		}
		return int(k)
	case !b.ref && k == layerBias:
		return int(k)
	case b.ref && k == layerBias && has[layerBias] && !has[normBias]:
		return int(normBias)
	case b.ref && k >= shortcutNorm:
		return int(k) - 1
	}
	return -1
}

// slotScales returns what each slot's values are divided by.
func (b *netBuilder) slotScales(s *nodeSet, values [numSlots][]float64) ([numSlots]float32, error) {
	var out [numSlots]float32
	for k := range out {
		out[k] = 1
	}
	if b.ref {
		return out, nil
	}
	positive := func(v, otherwise float64) float32 {
		if f := float32(v); f > 0 && !math.IsInf(float64(f), 0) {
			return f
		}
		return float32(otherwise)
	}
	out[normWeight] = positive(math.Sqrt(meanSquare(values[normWeight])), 1)
	out[normBias] = out[normWeight]
	variance := 0.0
	for _, v := range values[runningVar] {
		variance += v / float64(s.size)
	}
	out[runningVar] = positive(variance, 1)
	out[runningMean] = positive(math.Sqrt(max(variance, 0)), 1)
	reach, err := b.reach(s)
	out[layerBias] = positive(reach, max(math.Sqrt(meanSquare(values[layerBias])), 1e-20))
	return out, err
}

func meanSquare(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x * x)
	}
	return sum / float64(max(len(v), 1))
}

// reach is RMS(weight) * sqrt(fan-in), the spread of a layer's outputs for inputs of spread one; 0 without a weight.
func (b *netBuilder) reach(s *nodeSet) (float64, error) {
	if s.weight == nil {
		return 0, nil
	}
	rms, err := b.rmsOf(s.weight.c)
	return float64(rms * math.Sqrt(float64(s.weight.cols*len(s.weight.inner)))), err
}

// flags writes the features of the universal scheme that stand for no parameter, but for the fans.
func (b *netBuilder) flags(n *Network, s *nodeSet, at int, norm bool) {
	flag := func(on bool) float32 {
		if on {
			return 1
		}
		return 0
	}
	reach, _ := b.reach(s)
	size, positions := float32(0), positionsOf(s)
	if reach > 0 {
		size = float32(min(max(logarithm(reach), -8), 8) / 4)
	}
	for i := range s.size {
		row := n.Nodes[(at+i)*n.F:]
		row[5], row[6], row[7], row[8] = flag(norm), flag(s.kind == "input"), flag(s.output), flag(s.depthwise)
		row[9] = flag(i < len(s.labels) && b.a.Removable(s.labels[i]))
		row[12], row[13] = size, float32(logarithm(positions)/(16*math.Ln2))
	}
}

// positionsOf returns how many times a layer's channels are computed: the product of the other known axes but the first.
func positionsOf(s *nodeSet) float64 {
	out := 1.0
	if s.out == nil || !s.out.Ranked {
		return out
	}
	for k := 1; k < len(s.out.Shape); k++ {
		if n := axisLength(s.out, k); n > 0 {
			out *= float64(n)
		}
	}
	return max(out/float64(max(s.size, 1)), 1)
}

// fans writes the logarithms of fan-in and fan-out.
func (n *Network) fans() {
	in, out := make([]float64, n.N), make([]float64, n.N)
	for i := range n.Blocks {
		b := &n.Blocks[i]
		if b.Type != edgeKernel {
			continue
		}
		rows, cols := b.Rows, b.Cols
		if b.Diagonal {
			rows, cols = 1, 1
		}
		for r := range b.Rows {
			in[b.Out+r] += float64(cols * b.Kernel)
		}
		for c := range b.Cols {
			out[b.In+c] += float64(rows * b.Kernel)
		}
	}
	for v := range n.N {
		n.Nodes[v*n.F+10], n.Nodes[v*n.F+11] = float32(logarithm(1+in[v])/8), float32(logarithm(1+out[v])/8)
	}
}
