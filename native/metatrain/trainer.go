package metatrain

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
	"github.com/metaprune/metaprune/xla/meta"
)

// Config is what a meta-training depends on besides data models, images and version.
type Config struct {
	Objective   string       `json:"objective"`   // "weights" (also ""), "masks", "allocation" or "order"
	Images      int          `json:"images"`      // of one step
	Batch       int          `json:"batch"`       // number of images in a batch
	Devices     int          `json:"devices"`     // of the backend that share a batch, 0 for 1
	Sparsity    float64      `json:"sparsity"`    // of weights: norm of the sparsity gradient as a share of the cross-entropy gradient's; 0 for 0.1, negative for none
	Alpha       float64      `json:"alpha"`       // of weights: of the group sparsity, 0 for 4
	SpeedUps    [2]float64   `json:"speed_ups"`   // of masks: the range that a step's speed-up is drawn from, evenly in its logarithm; 0 for 1.5 to 8
	Temperature float64      `json:"temperature"` // of masks: width of the gates in the logarithm of the scores, 0 for 0.5
	Seed        uint64       `json:"seed"`
	AdamW       meta.Options `json:"adamw"`
}

// The objectives.
const (
	Weights  = "weights"    // the paper's: new weights with a low loss and sparse groups
	Masks    = "masks"      // scores: what they leave of a network has a low loss
	Allocate = "allocation" // scores: those that a search has found, with its offsets
	Order    = "order"      // scores: the order within each group that a search has found
)

// Objectives lists them.
var Objectives = []string{Weights, Masks, Allocate, Order}

func (c Config) filled() Config {
	if c.Images == 0 {
		c.Images = 3000
	}
	if c.Batch == 0 {
		c.Batch = 500
	}
	if c.Sparsity == 0 {
		c.Sparsity = .1
	}
	if c.Alpha == 0 {
		c.Alpha = 4
	}
	if c.Devices == 0 {
		c.Devices = 1
	}
	if c.Objective == "" {
		c.Objective = Weights
	}
	if c.SpeedUps == [2]float64{} {
		c.SpeedUps = [2]float64{1.5, 8}
	}
	if c.Temperature == 0 {
		c.Temperature = .5
	}
	return c
}

// Trainer changes a metanetwork step by step.
type Trainer struct {
	Config Config
	Net    *meta.Net

	nodeRatio, edgeRatio float64
}

// Report is what one step saw.
type Report struct {
	Model    string  `json:"model"`
	Loss     float64 `json:"loss"`               // mean cross-entropy at theta'
	Accuracy float64 `json:"accuracy"`           // at theta'
	Norm     float64 `json:"norm"`               // of the cross-entropy gradient by theta'
	Sparsity float64 `json:"sparsity,omitempty"` // of the sparsity gradient before it was scaled
	SpeedUp  float64 `json:"speed_up,omitempty"` // at which the loss was taken
	Gradient float64 `json:"gradient"`           // norm of the metanetwork's gradient

	Validation *float64 `json:"validation,omitempty"` // of the metanetwork behind the step, where it was judged: Judge.Goal
}

// Taught reports whether an objective takes what `metaprune allocate` has found, and neither images nor a loss.
func Taught(objective string) bool { return objective == Allocate || objective == Order }

// Normalizer is the one that scores of a metanetwork with an objective are meant for (prune.Criterion).
func Normalizer(objective string) string {
	switch objective {
	case Masks, Allocate:
		return "original"
	case Order:
		return "order"
	}
	return ""
}

// New prepares the training of a metanetwork.
func New(b *xla.Backend, f *safetensors.File, c Config) (*Trainer, error) {
	c = c.filled()
	if c.Images < c.Batch || c.Batch < 1 {
		return nil, fmt.Errorf("%d images in batches of %d: want at least one batch", c.Images, c.Batch)
	}
	if have := int(b.Backend.NumDevices()); c.Devices < 1 || c.Devices > have || c.Batch%c.Devices != 0 {
		return nil, fmt.Errorf("%d devices for batches of %d: want 1 to %d of them, by which the batch can be divided", c.Devices, c.Batch, have)
	}
	if err := planner.OneOf("objective", c.Objective, Objectives...); err != nil {
		return nil, err
	}
	if !(c.SpeedUps[0] > 1) || !(c.SpeedUps[1] >= c.SpeedUps[0]) || !(c.Temperature > 0) {
		return nil, fmt.Errorf("speed-ups %g to %g at temperature %g: want numbers above 1 in order, and a temperature above 0", c.SpeedUps[0], c.SpeedUps[1], c.Temperature)
	}
	node, edge, err := metanet.FileRatios(f)
	if err != nil {
		return nil, err
	}
	n, err := meta.New(b, f, c.AdamW)
	if err != nil {
		return nil, err
	}
	return &Trainer{Config: c, Net: n, nodeRatio: node, edgeRatio: edge}, nil
}

// Step trains on one data model and on images that are drawn by seed and step.
func (t *Trainer) Step(ctx context.Context, d *DataModel, images *data.Set) (*Report, error) {
	r, err := t.step(ctx, d, images)
	if err != nil {
		return nil, fmt.Errorf("data model %s: %w", d.Name, err)
	}
	return r, nil
}

func (t *Trainer) step(ctx context.Context, d *DataModel, images *data.Set) (*Report, error) {
	theta, err := t.theta(d)
	if err != nil {
		return nil, err
	}
	r := &Report{Model: d.Name}
	objective := t.rewritten
	switch t.Config.Objective {
	case Masks:
		objective = t.masks
	case Allocate, Order:
		objective = t.taught
	}
	gradient, err := objective(ctx, d, theta, images, r)
	if err != nil {
		return nil, err
	}
	cotangent, err := t.pull(d, gradient)
	if err != nil {
		return nil, err
	}
	r.Gradient, err = t.Net.Step(d.graph, cotangent)
	return r, err
}

// rewritten is the step's gradient by theta as the paper has it: of the cross-entropy there and of the group sparsity.
func (t *Trainer) rewritten(ctx context.Context, d *DataModel, theta map[*op.Constant]*onnxio.Tensor, images *data.Set, r *Report) (map[*op.Constant][]float32, error) {
	values, err := d.values(theta)
	if err != nil {
		return nil, err
	}
	gradient, err := t.crossEntropy(ctx, d, values, images, r)
	if err != nil {
		return nil, err
	}
	return gradient, t.addSparsity(d, theta, gradient, r)
}

// decoder reads what the metanetwork makes of the data model now.
func (t *Trainer) decoder(d *DataModel) (*graphcodec.Decoder, error) {
	residuals, err := t.Net.Forward(d.graph)
	if err != nil {
		return nil, err
	}
	return d.decoder(residuals, t.nodeRatio, t.edgeRatio)
}

// theta are the weights that the metanetwork gives the data model now.
func (t *Trainer) theta(d *DataModel) (map[*op.Constant]*onnxio.Tensor, error) {
	decoder, err := t.decoder(d)
	if err != nil {
		return nil, err
	}
	return tensorsOf(decoder)
}

// Rewritten is the data model with the weights that the metanetwork gives it now.
func (t *Trainer) Rewritten(d *DataModel) (*onnxio.Model, error) {
	decoder, err := t.decoder(d)
	if err != nil {
		return nil, err
	}
	return decoder.Model()
}

// crossEntropy is the gradient of the mean cross-entropy by each constant of the graph.
func (t *Trainer) crossEntropy(ctx context.Context, d *DataModel, values [][]float32, images *data.Set, r *Report) (map[*op.Constant][]float32, error) {
	d.loss.Reset()
	d.loss.SetValues(values)
	some := images.Shuffled(min(t.Config.Images, images.N), t.Config.Seed^(uint64(t.Net.Steps)*0x9e3779b97f4a7c15))
	order := data.Order{Batch: t.Config.Batch, DropLast: true}
	err := some.Each(ctx, order, func(_ int, b *data.Batch) error {
		return d.loss.Add(xla.Array{Dims: b.Dims, Floats: b.X, Type: onnxio.Float}, b.Labels)
	})
	if err != nil {
		return nil, err
	}
	loss, gradient, accuracy, err := d.loss.Means()
	if err != nil {
		return nil, err
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return nil, fmt.Errorf("the loss is not a number after %d steps; give a lower learning rate", t.Net.Steps)
	}
	r.Loss, r.Accuracy = loss, accuracy
	out := map[*op.Constant][]float32{}
	for i, p := range d.loss.Program.Params {
		if c := d.constant[p.Name]; c != nil && gradient[i] != nil {
			out[c] = gradient[i]
		}
	}
	r.Norm = norm(out)
	return out, nil
}

// addSparsity adds the sparsity gradient at theta', brought to its share of the other's norm.
func (t *Trainer) addSparsity(d *DataModel, theta map[*op.Constant]*onnxio.Tensor, to map[*op.Constant][]float32, r *Report) error {
	if t.Config.Sparsity < 0 {
		return nil
	}
	c := planner.Criterion{Weights: func(c *op.Constant) (*onnxio.Tensor, error) { return theta[c], nil }}
	g, err := planner.GroupSparsity(d.analysis, c, t.Config.Alpha)
	if err != nil {
		return err
	}
	if r.Sparsity = norm(g); r.Sparsity == 0 {
		return nil
	}
	scale := t.Config.Sparsity * r.Norm / r.Sparsity
	for c, v := range g {
		if d.constant[c.Name] != c {
			continue // not in the graph
		}
		if to[c] == nil {
			to[c] = make([]float32, len(v))
		}
		for i, x := range v {
			to[c][i] += float32(scale * float64(x))
		}
	}
	return nil
}

// norm is the root of the sum of squares, in one order.
func norm(g map[*op.Constant][]float32) float64 {
	sum := 0.0
	for _, c := range slices.SortedFunc(maps.Keys(g), func(a, b *op.Constant) int { return strings.Compare(a.Name, b.Name) }) {
		for _, x := range g[c] {
			sum += float64(x) * float64(x)
		}
	}
	return math.Sqrt(sum)
}

// pull brings a gradient by the constants back to the residuals.
func (t *Trainer) pull(d *DataModel, gradient map[*op.Constant][]float32) (*meta.Residuals, error) {
	nodes, edges, err := d.network.Pull(func(c *op.Constant) []float32 { return gradient[c] })
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		nodes[i] *= float32(t.nodeRatio)
	}
	for i := range edges {
		if edges[i] == nil { // its features belong to another block, which changes them
			edges[i] = make([]float32, len(d.graph.Blocks[i].Features))
		}
		for k := range edges[i] {
			edges[i][k] *= float32(t.edgeRatio)
		}
	}
	return &meta.Residuals{Nodes: nodes, Edges: edges}, nil
}

// Close frees what is on the device.
func (t *Trainer) Close() { t.Net.Close() }
