package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/prune/planner"
)

// Metanet is a metanetwork with the hash of its file.
type Metanet struct {
	Network *metanet.Network
	SHA256  string
}

// LoadMetanet reads a metanetwork from the bytes of a safetensors file; nil is the one that is part of the program.
func LoadMetanet(data []byte) (*Metanet, error) {
	if data == nil {
		n, err := metanet.Default()
		return &Metanet{n, hash(metanet.DefaultFile())}, err
	}
	f, err := safetensors.Parse(data)
	if err != nil {
		return nil, err
	}
	n, err := metanet.Load(f)
	if err != nil {
		return nil, err
	}
	return &Metanet{n, hash(data)}, nil
}

// Scheme returns the metanetwork's feature scheme after comparing its sizes with it.
func (m *Metanet) Scheme() (graphcodec.Scheme, error) {
	name := m.Network.Scheme()
	if name == "" {
		return graphcodec.Scheme{}, errors.New(`the metanetwork does not say which features it was trained for; for the paper's checkpoints, metaprune metanet convert notes them with option "scheme reference-cnn"`)
	}
	s, err := graphcodec.SchemeByName(name)
	if err != nil {
		return s, fmt.Errorf("the metanetwork's %w", err)
	}
	var widths []int
	for _, t := range s.Edges {
		widths = append(widths, t.Features)
	}
	if m.Network.NodeIn != len(s.Nodes) || !slices.Equal(m.Network.EdgeIn, widths) {
		return s, fmt.Errorf("the metanetwork needs %d node and %v edge features, but its feature scheme %s has %d and %v", m.Network.NodeIn, m.Network.EdgeIn, s.Name, len(s.Nodes), widths)
	}
	return s, nil
}

// Sizes are those of a new metanetwork for a feature scheme.
func Sizes(s graphcodec.Scheme, hidden, layers int) metanet.Sizes {
	out := metanet.Sizes{Hidden: hidden, Layers: layers, NodeIn: len(s.Nodes), Scheme: s.Name}
	for _, t := range s.Edges {
		out.EdgeTypes, out.EdgeIn = append(out.EdgeTypes, t.Name), append(out.EdgeIn, t.Features)
		out.Frozen = append(out.Frozen, t.Fixed)
	}
	return out
}

// Graph is the parameter graph as a metanetwork reads it; blocks alias the model's weights.
func Graph(n *graphcodec.Network) *metanet.Graph {
	g := &metanet.Graph{N: n.N, F: n.F, Nodes: n.Nodes}
	for i := range n.Blocks {
		b := &n.Blocks[i]
		g.Blocks = append(g.Blocks, metanet.Block{Out: b.Out, In: b.In, Rows: b.Rows, Cols: b.Cols, Diagonal: b.Diagonal, Type: b.Type, Source: b, Kernel: b.Kernel, Lens: b.Lens, Scale: b.Scale})
	}
	return g
}

// ExplicitFile is the graph with every edge written out, in the layout that metanet.GraphFromFile reads.
func ExplicitFile(n *graphcodec.Network) (*safetensors.File, error) {
	index, features, err := n.Explicit()
	if err != nil {
		return nil, err
	}
	f := &safetensors.File{Metadata: map[string]string{"scheme": n.Scheme.Name}, Tensors: map[string]*safetensors.Tensor{
		"node_in": safetensors.FloatTensor(n.Nodes, n.N, n.F), "edge_index": safetensors.IntTensor(append(index[0], index[1]...), 2, len(index[0]))}}
	for i, v := range features {
		name, width := "edge_in", n.Scheme.Edges[i].Features
		if len(features) > 1 {
			name = fmt.Sprintf("edge_in_%d", i)
		}
		f.Tensors[name] = safetensors.FloatTensor(v, len(v)/width, width)
	}
	return f, nil
}

// Rewrite is a metanetwork's pass over a model.
type Rewrite struct {
	Network *graphcodec.Network
	decoder *graphcodec.Decoder
	kept    map[*op.Constant]*onnxio.Tensor
	room    int64
}

// keptBytes bounds the decoded tensors that are kept for the next scoring; where the caller gives the metanetwork less memory, so much.
const keptBytes = 32 << 20

// Rewrite runs a metanetwork over the model. New weights are decoded when they are asked for.
func (s *Model) Rewrite(ctx context.Context, m *Metanet, o metanet.Options) (*Rewrite, error) {
	scheme, err := m.Scheme()
	if err != nil {
		return nil, err
	}
	n, err := graphcodec.Encode(s.Analysis, scheme)
	if err != nil {
		return nil, err
	}
	if o.NodeRatio, o.EdgeRatio, err = m.Network.Ratios(); err != nil {
		return nil, fmt.Errorf("the metanetwork's %w", err)
	}
	result, err := m.Network.Run(ctx, Graph(n), o)
	if err != nil {
		return nil, fmt.Errorf("metanetwork: %w", err)
	}
	d, err := n.Decoder(result.Nodes, func(block int, sink func(row, rows int, delta []float32)) error {
		return result.Edges(ctx, block, sink)
	})
	room := int64(keptBytes)
	if o.Memory != 0 {
		room = max(0, min(o.Memory, room))
	}
	return &Rewrite{Network: n, decoder: d, kept: map[*op.Constant]*onnxio.Tensor{}, room: room}, err
}

// Weight returns what the metanetwork makes of a constant, nil where it is unchanged.
func (r *Rewrite) Weight(c *op.Constant) (*onnxio.Tensor, error) {
	if t, ok := r.kept[c]; ok {
		return t, nil
	}
	t, err := r.decoder.Tensor(c)
	if err != nil {
		return nil, err
	}
	size := int64(0)
	if t != nil {
		size, _ = t.ByteSize()
	}
	if size <= r.room {
		r.kept[c] = t
		r.room -= size
	}
	return t, nil
}

// Model returns the model with the metanetwork's weights.
func (r *Rewrite) Model(old *Model) (*Model, error) {
	m, err := r.decoder.Model()
	if err != nil {
		return nil, err
	}
	s, err := FromModel(m, old.data)
	if err != nil {
		return nil, err
	}
	s.sha, s.elements = old.sha, old.elements
	return s, s.CountAt(old.inputs)
}

// Prepared is a model for which plans are made and applied: the model itself, or the model with a metanetwork's weights.
type Prepared struct {
	*Model
	Rewrite *Rewrite
	weights string
	metanet string

	normalizer string // that the metanetwork was trained for
}

// Prepare readies the model for a criterion. The metanetwork m is used for criterion "metanet"; with weights "metanet" the model is pruned as the metanetwork rewrote it, otherwise ("original" or "")
// only scored by it.
func (s *Model) Prepare(ctx context.Context, criterion, weights string, m *Metanet, o metanet.Options) (*Prepared, error) {
	p := &Prepared{Model: s, weights: "original"}
	switch {
	case weights != "" && weights != "original" && weights != "metanet":
		return nil, planner.OneOf("weights", weights, "original", "metanet")
	case criterion != "metanet" && weights == "metanet":
		return nil, errors.New("weights metanet: want criterion metanet")
	case criterion != "metanet":
		return p, nil
	}
	if weights == "metanet" && m.Network.Normalizer() != "" {
		return nil, errors.New("weights metanet: this metanetwork was trained for scores, and its weights are not usable; keep the original weights, or give a metanetwork that was trained for weights")
	}
	s.StartHash()
	var err error
	if p.Rewrite, err = s.Rewrite(ctx, m, o); err != nil {
		return nil, err
	}
	p.metanet, p.normalizer = m.SHA256, m.Network.Normalizer()
	if weights == "metanet" {
		p.weights = weights
		p.Model, err = p.Rewrite.Model(s)
	}
	return p, err
}

// criterion completes a criterion by what the metanetwork gives.
func (p *Prepared) criterion(c planner.Criterion) planner.Criterion {
	if c.Normalizer == "" {
		c.Normalizer = p.normalizer
	}
	if p.Rewrite != nil && p.weights == "original" {
		c.Weights = p.Rewrite.Weight
	} else if p.Rewrite != nil {
		c.Weights = func(*op.Constant) (*onnxio.Tensor, error) { return nil, nil }
	}
	return c
}

// Score computes the importance of every unit, to plan with as often as one likes (prune.Options.Scores).
func (p *Prepared) Score(c planner.Criterion) (planner.Scores, error) {
	return planner.Score(p.Analysis, p.Analysis.NewState(), p.criterion(c))
}

// MakePlan chooses which channels are removed. Where the criterion names no normaliser, a metanetwork's own counts.
func (p *Prepared) MakePlan(ctx context.Context, r Request) (*planner.Plan, error) {
	if p.Rewrite != nil && p.weights == "original" && r.Pattern != "" && r.Pattern != "channels" {
		return nil, fmt.Errorf(`pattern %s chooses by the present weights: use it with option "weights metanet"`, r.Pattern)
	}
	r.Criterion = p.criterion(r.Criterion)
	plan, err := p.Model.MakePlan(ctx, r)
	if err == nil {
		plan.Weights, plan.Metanet = p.weights, p.metanet
	}
	return plan, err
}

// PrepareReplay readies the model for a plan: with the metanetwork that it names, where it takes weights from one.
func (s *Model) PrepareReplay(ctx context.Context, plan *planner.Plan, m *Metanet, o metanet.Options) (*Prepared, error) {
	if plan.Weights != "metanet" {
		return s.Prepare(ctx, "", "original", nil, o)
	}
	if m == nil || m.SHA256 != plan.Metanet {
		have := "none"
		if m != nil {
			have = fmt.Sprintf("%.12s…", m.SHA256)
		}
		return nil, &planner.PlanError{What: fmt.Sprintf("it takes its weights from a metanetwork with SHA-256 %.12s… (given: %s); give that file with option \"metanet\"", plan.Metanet, have)}
	}
	return s.Prepare(ctx, "metanet", "metanet", m, o)
}
