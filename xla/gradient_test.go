package xla

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// probe runs a program forward and backward. Its loss is the outputs times fixed random numbers.
type probe struct {
	exec    *Exec
	forward *Exec // the same without gradients, where a backend compiles in no time; otherwise nil
	wrt     []int // arguments that gradients are taken for: trained parameters, and inputs where they are asked for
	args    []Array
	mix     [][]float32
}

func newProbe(b *Backend, p *Program, in []Array, wrtInputs, train bool) (*probe, error) {
	values, err := p.Values()
	if err != nil {
		return nil, err
	}
	q := &probe{args: append(values, in...)}
	for i, a := range q.args {
		trained := i < len(p.Params) && p.Params[i].Trained() || i >= len(p.Params) && wrtInputs
		if trained && a.Type.IsFloat() && a.Type != onnxio.Double && len(a.Floats) > 0 {
			q.wrt = append(q.wrt, i)
		}
	}
	k, r := len(p.Params), rand.New(rand.NewPCG(11, 12))
	outputs := func(args []*Node) (real []*Node) {
		e := p.env(args[0].Graph(), b, args[:k], args[k:])
		e.train, e.stats = train, map[string]*Node{}
		for _, o := range e.run(p.feeds(args[k:])) {
			if o.DType() == dtypes.Float32 && o.Shape().Size() > 0 {
				real = append(real, o)
			}
		}
		return real
	}
	if b.Kind == Go {
		if q.forward, err = NewExec(b.Backend, outputs); err != nil {
			return nil, Wrap(err)
		}
	}
	q.exec, err = NewExec(b.Backend, func(args []*Node) []*Node {
		g := args[0].Graph()
		q.mix = nil
		real := outputs(args)
		var by []*Node
		loss := Const(g, float32(0))
		for _, o := range real {
			m := make([]float32, o.Shape().Size())
			for i := range m {
				m[i] = float32(r.NormFloat64())
			}
			loss = Add(loss, ReduceAllSum(Mul(o, ConstTensor(g, tensors.FromFlatDataAndDimensions(m, o.Shape().Dimensions...)))))
			q.mix = append(q.mix, m)
		}
		for _, i := range q.wrt {
			by = append(by, args[i])
		}
		return append(real, Gradient(loss, by...)...)
	})
	return q, Wrap(err)
}

// close frees what is compiled.
func (q *probe) close() {
	q.exec.Finalize()
	if q.forward != nil {
		q.forward.Finalize()
	}
}

// loss returns the loss at a point; at.
func (q *probe) loss(direction [][]float32, step float64) (float64, error) {
	exec := q.exec
	if q.forward != nil && len(q.mix) > 0 {
		exec = q.forward
	}
	loss, _, err := q.at(exec, direction, step)
	return loss, err
}

// at returns the loss, summed up in float64, and the gradients, where exec computes them, at a point: the arguments plus step times direction.
func (q *probe) at(exec *Exec, direction [][]float32, step float64) (loss float64, grads [][]float32, err error) {
	defer Caught(&err)
	var args []any
	for i, a := range q.args {
		if k := slices.Index(q.wrt, i); k >= 0 && direction != nil {
			moved := slices.Clone(a.Floats)
			for j := range moved {
				moved[j] += float32(step * float64(direction[k][j]))
			}
			a.Floats = moved
		}
		args = append(args, a.tensor())
	}
	outs, err := exec.Call(args...)
	if err != nil {
		return 0, nil, Wrap(err)
	}
	for i, o := range outs {
		a, err := arrayOf(o)
		if err != nil {
			return 0, nil, err
		}
		if i >= len(q.mix) {
			grads = append(grads, a.Floats)
			continue
		}
		for j, v := range a.Floats {
			loss += float64(v) * float64(q.mix[i][j])
		}
	}
	return loss, grads, nil
}

// check compares the gradient with central differences along random directions. A direction counts where two step sizes agree, which they do not at kinks.
func (q *probe) check(directions int) error {
	_, grads, err := q.at(q.exec, nil, 0)
	if err != nil {
		return err
	}
	if len(grads) == 0 {
		return fmt.Errorf("nothing to differentiate by")
	}
	r := rand.New(rand.NewPCG(21, 22))
	used := 0
	for range 4 * directions {
		direction := make([][]float32, len(q.wrt))
		analytic, size := 0.0, 0.0
		for k, i := range q.wrt {
			own := q.args[i].Floats
			scale := math.Max(rms(own), 1e-2)
			for j := range own {
				d := scale * r.NormFloat64()
				direction[k] = append(direction[k], float32(d))
				analytic += d * float64(grads[k][j])
				size += d * d * float64(grads[k][j]) * float64(grads[k][j])
			}
		}
		room := 2e-2*math.Sqrt(size) + 1e-3 // of the slope's usual size along a random direction
		narrow, wide, err := q.slopes(direction, room)
		if err != nil {
			return err
		}
		if math.Abs(wide-narrow) > room {
			continue
		}
		if !(math.Abs(narrow-analytic) <= room) {
			return fmt.Errorf("gradient along a direction is %.6g, differences give %.6g and %.6g; usual is %.6g", analytic, wide, narrow, math.Sqrt(size))
		}
		if used++; used == directions {
			return nil
		}
	}
	return fmt.Errorf("no direction without a kink")
}

// slopes are the central differences of the narrowest step whose rounding is small against room, and of the next wider one. Rounding is what steps that are too small to matter change.
func (q *probe) slopes(direction [][]float32, room float64) (narrow, wide float64, err error) {
	rounding := 0.0
	for _, tiny := range []float64{1e-8, 2e-8, 3e-8} {
		s, err := q.slope(direction, tiny)
		if err != nil {
			return 0, 0, err
		}
		rounding = max(rounding, math.Abs(s)*tiny)
	}
	steps := []float64{1e-4, 2e-4, 5e-4, 1e-3, 2e-3}
	at := 0
	for at < len(steps)-2 && rounding/steps[at] > room/2 {
		at++
	}
	if narrow, err = q.slope(direction, steps[at]); err != nil {
		return 0, 0, err
	}
	wide, err = q.slope(direction, steps[at+1])
	return narrow, wide, err
}

func (q *probe) slope(direction [][]float32, step float64) (float64, error) {
	up, err := q.loss(direction, step)
	if err != nil {
		return 0, err
	}
	down, err := q.loss(direction, -step)
	return (up - down) / (2 * step), err
}

func rms(v []float32) float64 {
	s := 0.0
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	return math.Sqrt(s / float64(max(len(v), 1)))
}

// zooOperators are the operators of the zoo that have a derivative; each has to pass in at least one of ONNX's node tests.
var zooOperators = strings.Fields(`Add AveragePool BatchNormalization Clip Concat Conv ConvTranspose Div Erf Expand Flatten Gather Gemm GlobalAveragePool Identity
	LSTM LayerNormalization MatMul MaxPool Mul Pad ReduceMean Relu Reshape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze Where`)

// TestGradientsOfOperators compares the gradient by every real input with finite differences, on ONNX's own node tests.
func TestGradientsOfOperators(t *testing.T) {
	dirs := nodeTests(t)
	b := backendUnderTest(t)
	defer b.Finalize()
	list := readList(t, "testdata/conformance.txt")
	passed := map[string]int{}
	for _, dir := range dirs {
		name := filepath.Base(dir)
		if list[name] != "" {
			continue
		}
		p, in, done, err := readCase(dir)
		require.NoError(t, err, name)
		op := p.Model.Graph.Nodes[0].OpType
		if len(p.Model.Graph.Nodes) == 1 && slices.Contains(zooOperators, op) && !sharp[name] && real(p, in) {
			q, err := newProbe(b, p, in, true, false)
			require.NoError(t, err, name)
			if err := q.check(3); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			passed[op]++
			q.close()
		}
		require.NoError(t, done())
	}
	total := 0
	for _, op := range zooOperators {
		require.NotZero(t, passed[op], "%s: no node test", op)
		total += passed[op]
	}
	t.Logf("%d node tests of %d operators: %v", total, len(zooOperators), passed)
}

// sharp are cases without a derivative where they stand, or with none at all.
var sharp = map[string]bool{"test_softmax_large_number": true}

// real reports whether a case maps real numbers to real numbers.
func real(p *Program, in []Array) bool {
	for _, a := range in {
		if a.Type == onnxio.Float && len(a.Floats) > 0 {
			t := p.Model.Graph.Outputs[0].Type.Tensor
			return t != nil && t.ElemType == onnxio.Float
		}
	}
	return false
}

// TestGradientOfGelu has its own models: the packaged node tests are older than the operator.
func TestGradientOfGelu(t *testing.T) {
	b := backendUnderTest(t)
	defer b.Finalize()
	for _, approximate := range []string{"none", "tanh"} {
		face := func(name string) *onnxio.ValueInfo {
			return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: &onnxio.Shape{Dims: []*onnxio.Dim{{Value: 5, HasValue: true}}}}}}
		}
		m := &onnxio.Model{IRVersion: 9, OpsetImport: []*onnxio.OpsetID{{Version: 20}}, Graph: &onnxio.Graph{Name: "g", Inputs: []*onnxio.ValueInfo{face("x")}, Outputs: []*onnxio.ValueInfo{face("y")},
			Nodes: []*onnxio.Node{{OpType: "Gelu", Inputs: []string{"x"}, Outputs: []string{"y"}, Attributes: []*onnxio.Attribute{{Name: "approximate", Type: onnxio.AttrString, S: []byte(approximate)}}}}}}
		p, err := Load(m)
		require.NoError(t, err)
		q, err := newProbe(b, p, []Array{{Dims: []int{5}, Floats: []float32{-2, -.5, 0, .7, 3}, Type: onnxio.Float}}, true, false)
		require.NoError(t, err)
		require.NoError(t, q.check(3), approximate)
	}
}

// TestGradientsOfModels compares the gradient by all weights, in inference and in training, where BatchNormalization works on the batch; a model without one computes the same in both. A short run takes one model in four on XLA, which compiles
// each for seconds; the gradients of all operators are in TestGradientsOfOperators.
func TestGradientsOfModels(t *testing.T) {
	files, err := filepath.Glob("../testdata/models/*.onnx")
	require.NoError(t, err)
	b := backendUnderTest(t)
	defer b.Finalize()
	seen, norms := 0, 0
	files = slices.DeleteFunc(append(files, "../testdata/fashion-resnet20.onnx"), func(file string) bool { return unlearnable[filepath.Base(file)] != "" })
	slices.Reverse(files) // the ResNet-20 first
	for i, file := range files {
		if testing.Short() && b.Kind != Go && i%4 != 0 {
			continue
		}
		name := filepath.Base(file)
		f, err := onnxio.Open(file)
		require.NoError(t, err)
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		modes := []bool{false}
		if bytes.Contains(data, []byte("BatchNormalization")) {
			modes = append(modes, true)
			norms++
		}
		for _, train := range modes {
			p, err := Load(f.Model)
			require.NoError(t, err)
			q, err := newProbe(b, p, randomInputs(p, 4), false, train)
			require.NoError(t, err, name)
			if err := q.check(2); err != nil {
				t.Errorf("%s, training %v: %v", name, train, err)
			}
			q.close()
			seen++
		}
		require.NoError(t, f.Close())
	}
	require.Positive(t, norms)
	t.Logf("%d gradients, %d of them in training", seen, norms)
}

// unlearnable are models that the engine does not run, with the reason.
var unlearnable = map[string]string{
	"unknown.onnx":            "NonZero: its output's shape depends on the data",
	"frozen.onnx":             "ScatterElements: onnx-gomlx has none",
	"places.onnx":             "ScatterElements: onnx-gomlx has none",
	"assign.dy.onnx":          "ScatterND: no gradient in GoMLX",
	"assign.ts.onnx":          "ScatterND: no gradient in GoMLX",
	"assign.ts.dynb.onnx":     "ScatterND: no gradient in GoMLX",
	"attention.onnx":          "EmbedLayerNormalization: onnx-gomlx has none",
	"attention23.onnx":        "RotaryEmbedding as ONNX has it: onnx-gomlx has another one",
	"branches.onnx":           "If: a condition that depends on the data",
	"control.onnx":            "Loop: onnx-gomlx has none",
	"if_in.onnx":              "If: a condition that depends on the data",
	"merged.onnx":             "If: a condition that depends on the data",
	"deform.onnx":             "DeformConv: onnx-gomlx has none",
	"sequence.onnx":           "SplitToSequence: onnx-gomlx has none",
	"quantised.onnx":          "QLinearConv: onnx-gomlx has none",
	"quantised_sequence.onnx": "DynamicQuantizeLSTM: onnx-gomlx has none",
	"norms.onnx":              "SkipLayerNormalization: onnx-gomlx has none",
	"unsigned_qdq.onnx":       "nothing to differentiate by: its weights are integers",
	"dequantised.onnx":        "SkipLayerNormalization: onnx-gomlx has none",
	"packed.onnx":             "MatMulNBits: onnx-gomlx has none",
	"embed.onnx":              "EmbedLayerNormalization: onnx-gomlx has none",
	"shift.onnx":              "EmbedLayerNormalization: onnx-gomlx has none",
	"tables.onnx":             "GatherBlockQuantized: onnx-gomlx has none",
	"fourier.onnx":            "DFT: onnx-gomlx has none",
	"linear.onnx":             "LinearClassifier: onnx-gomlx has none",
	"moe.onnx":                "MoE: onnx-gomlx has none",
	"int4.onnx":               "weights of 4 bits",
	"sample.onnx":             "GridSample: onnx-gomlx has none",
	"recurrent.ts.onnx":       "GRU: onnx-gomlx has none",
	"recurrent.dy.onnx":       "GRU: onnx-gomlx has none",
	"recurrent.onnx":          "peepholes of an LSTM: onnx-gomlx has none",
}

// randomInputs draws inputs; free dims are n on the first axis, 16 on others.
func randomInputs(p *Program, n int) []Array {
	r := rand.New(rand.NewPCG(31, 32))
	var out []Array
	for _, in := range p.Inputs {
		a := Array{Type: in.Type}
		for i, d := range in.Dims {
			if d < 0 && i == 0 {
				d = n
			} else if d < 0 {
				d = 16
			}
			a.Dims = append(a.Dims, d)
		}
		for range product(a.Dims) {
			if a.Type.IsFloat() {
				a.Floats = append(a.Floats, float32(r.NormFloat64()))
			} else {
				a.Ints = append(a.Ints, r.Int64N(8))
			}
		}
		out = append(out, a)
	}
	return out
}
