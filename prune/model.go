package prune

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/prune/planner"
)

// Model is an open ONNX model with its groups of coupled channels.
type Model struct {
	ONNX     *onnxio.Model
	Analysis *coupling.Analysis
	data     []byte
	size     int64
	sha      chan string
	elements *elementHash
	inputs   map[string][]int64
	path     string       // of the file, where Open read it
	closing  func() error // releases the file
}

// Read decodes and analyses the bytes of an .onnx file, which must not change while the model is in use. External data is read from store; nil refuses models that have any.
func Read(data []byte, store onnxio.ExternalData) (*Model, error) {
	m, err := onnxio.Decode(data, store)
	if err != nil {
		return nil, err
	}
	return FromModel(m, data)
}

// FromModel analyses a decoded model; data is the file that it came from.
func FromModel(m *onnxio.Model, data []byte) (*Model, error) {
	a, err := coupling.Analyze(m)
	if err != nil {
		return nil, err
	}
	return &Model{ONNX: m, Analysis: a, data: data, size: int64(len(data)), elements: &elementHash{model: m}}, nil
}

// FromStream analyses a model that onnxio.DecodeStream read from a file of size bytes; Hashed has to be told its hash.
func FromStream(m *onnxio.Model, size int64) (*Model, error) {
	s, err := FromModel(m, nil)
	if err == nil {
		s.size = size
	}
	return s, err
}

// Close waits for work that still reads the model's bytes and releases the file that Open mapped. Nothing that was made from the model may be used afterwards, unless it was saved.
func (s *Model) Close() error {
	if s.sha != nil {
		s.SHA256()
		s.DataSHA256()
	}
	if s.closing == nil {
		return nil
	}
	return s.closing()
}

// Hashed tells the model the hash of its file in hexadecimal, which the caller has or is about to have.
func (s *Model) Hashed(sum func() string) {
	s.sha = make(chan string, 1)
	go func() { s.sha <- sum() }()
}

// StartHash begins hashing the file and its external data beside other work; SHA256 and DataSHA256 wait
// for it.
func (s *Model) StartHash() {
	if s.sha != nil {
		return
	}
	s.sha = make(chan string, 1)
	go func() { s.sha <- hash(s.data) }()
	go s.DataSHA256()
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// SHA256 returns the hash of the model's file in hexadecimal.
func (s *Model) SHA256() string {
	s.StartHash()
	sum := <-s.sha
	s.sha <- sum
	return sum
}

// DataSHA256 returns a hash in hexadecimal of the elements that the model keeps in external data: SHA-256
// of the CRC-32C (4 bytes, little-endian) of every MiB of every such tensor, in the order of the model's
// file. It tells data apart that differ in anything, at the speed of memory; it does not resist forgery.
// It is empty where the model keeps all elements itself, or where the data cannot be read.
func (s *Model) DataSHA256() string { return s.elements.get() }

// elementHash hashes external data once, when it is first asked for.
type elementHash struct {
	model *onnxio.Model
	once  sync.Once
	sum   string
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (h *elementHash) get() string {
	h.once.Do(func() {
		if !h.model.HasExternal() {
			return
		}
		sum, complete := sha256.New(), true
		h.model.EachTensor(func(t *onnxio.Tensor) {
			if !complete || !t.IsExternal() {
				return
			}
			b, err := t.Bytes()
			complete = err == nil
			for part := range slices.Chunk(b, 1<<20) {
				sum.Write(binary.LittleEndian.AppendUint32(nil, crc32.Checksum(part, castagnoli)))
			}
		})
		if complete {
			h.sum = hex.EncodeToString(sum.Sum(nil))
		}
	})
	return h.sum
}

// CountAt sets the sizes of inputs that work is counted at (graphcodec.Analysis.CountAt).
func (s *Model) CountAt(inputs map[string][]int64) error {
	s.inputs = inputs
	return s.Analysis.CountAt(inputs)
}

// Inputs are the sizes that CountAt was given.
func (s *Model) Inputs() map[string][]int64 { return s.inputs }

// Request says what to remove.
type Request struct {
	planner.Options
	Pattern  string  // "channels" (also ""), "N:M" or "unstructured"
	Sparsity float64 // of unstructured
}

// MakePlan chooses which channels are removed. The plan is not signed yet.
func (s *Model) MakePlan(ctx context.Context, r Request) (*planner.Plan, error) {
	var p *planner.Plan
	var err error
	switch r.Pattern {
	case "", "channels":
		p, err = planner.MakePlan(ctx, s.Analysis, r.Options)
	case "unstructured":
		p, err = planner.PlanUnstructured(s.Analysis, r.Sparsity, r.Ignore...)
	default:
		p, err = planner.PlanPattern(s.Analysis, r.Pattern, r.Ignore...)
	}
	return p, err
}

// Sign notes in a plan which model and which external data it is for.
func (s *Model) Sign(p *planner.Plan) { p.ModelSHA256, p.DataSHA256 = s.SHA256(), s.DataSHA256() }

// CheckPlan compares a signed plan with the model and its external data.
func (s *Model) CheckPlan(p *planner.Plan) error {
	if err := p.Check(s.SHA256()); err != nil || p.DataSHA256 == "" {
		return err
	}
	return p.CheckData(s.DataSHA256())
}

// Apply returns the model that a plan describes. A signed plan of another model is refused.
func (s *Model) Apply(p *planner.Plan) (*onnxio.Model, error) {
	if p.ModelSHA256 != "" {
		if err := s.CheckPlan(p); err != nil {
			return nil, err
		}
	}
	return planner.Apply(s.Analysis, p)
}

// Attach gives a plan the tensors that its repair changed; data is the file that the plan names, which must not change until the plan is applied. Its hash is compared before it is read.
func Attach(p *planner.Plan, data []byte) error {
	return p.Attach(hash(data), func() (map[string]planner.Numbers, error) {
		f, err := safetensors.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("repaired tensors: %w", err)
		}
		tensors := map[string]planner.Numbers{}
		for name, t := range f.Tensors {
			if !t.IsFloat() {
				return nil, fmt.Errorf("repaired tensor %q: element type %s, want floats", name, t.DType)
			}
			tensors[name] = t
		}
		return tensors, nil
	})
}

// Repaired notes in a plan what a repair changed and returns the file that goes beside it under the given name.
func Repaired(p *planner.Plan, mode, name string, tensors map[string][]float32) ([]byte, error) {
	f := &safetensors.File{Metadata: map[string]string{"format": "metaprune-repaired", "repair": mode}, Tensors: map[string]*safetensors.Tensor{}}
	for n, v := range tensors {
		f.Tensors[n] = safetensors.FloatTensor(v, len(v))
	}
	data := f.Bytes()
	p.Repair, p.Repaired = mode, &planner.RepairedFile{File: name, SHA256: hash(data)}
	return data, Attach(p, data)
}

// Report is what inspect shows.
type Report struct {
	IRVersion   int64                `json:"ir_version"`
	Opset       map[string]int64     `json:"opset"`
	Producer    string               `json:"producer"`
	Nodes       int                  `json:"nodes"`
	FileBytes   int                  `json:"file_bytes"`
	Inputs      []string             `json:"inputs"`
	Outputs     []string             `json:"outputs"`
	MACs        int64                `json:"macs"`
	Params      int64                `json:"params"`
	Bytes       int64                `json:"bytes"`
	Activations int64                `json:"peak_activation_bytes"`
	CountedAt   *coupling.Counted    `json:"counted_at,omitempty"` // sizes of inputs that the file leaves free
	Prunable    int                  `json:"prunable_units"`
	Layers      []coupling.LayerCost `json:"layers"`
	Groups      []GroupReport        `json:"groups"`
	Unknown     map[string]int       `json:"operators_without_rule,omitempty"`
	Advice      string               `json:"advice,omitempty"` // how to get a model of which more can be pruned
}

// GroupReport describes one group.
type GroupReport struct {
	ID      string         `json:"id"`   // unique, such as g12
	Name    string         `json:"name"` // unique, for people
	Units   int            `json:"units"`
	Frozen  string         `json:"frozen,omitempty"`
	NoLayer bool           `json:"-"`              // Frozen, because no layer has its channels
	Kind    string         `json:"kind,omitempty"` // heads or head-dim, of an attention
	MACs    int64          `json:"macs"`           // of all layers that work on the group's channels
	Members []MemberReport `json:"members"`
}

// MemberReport is one member of a group.
type MemberReport struct {
	Tensor string `json:"tensor"`
	Name   string `json:"name"`           // for people: the tensor's, or the node's where an exporter has numbered the tensor
	Node   string `json:"node,omitempty"` // that reads it as its weight
	Axis   int    `json:"axis"`
	Role   string `json:"role"`
}

// Inspect reports what the model consists of.
func (s *Model) Inspect() *Report {
	st := s.Analysis.NewState()
	m := s.ONNX
	r := &Report{IRVersion: m.IRVersion, Opset: map[string]int64{}, Producer: strings.TrimSpace(m.ProducerName + " " + m.ProducerVersion),
		Nodes: len(m.Graph.Nodes), FileBytes: int(s.size), MACs: st.MACs(), Params: st.Params(), Bytes: st.Bytes(),
		Activations: s.Analysis.Activations(st), CountedAt: s.Analysis.CountedAt(), Layers: st.Layers(), Unknown: s.Analysis.Unknown(), Advice: s.Analysis.Advice(), Inputs: []string{}, Outputs: []string{}}
	for _, o := range m.OpsetImport {
		r.Opset[orDefault(o.Domain, "ai.onnx")] = o.Version
	}
	for _, v := range m.Graph.Inputs {
		if x := s.Analysis.Value(v.Name); x != nil && x.Const == nil {
			r.Inputs = append(r.Inputs, describe(x))
		}
	}
	for _, v := range m.Graph.Outputs {
		r.Outputs = append(r.Outputs, describe(s.Analysis.Value(v.Name)))
	}
	for i := range s.Analysis.Groups {
		g := &s.Analysis.Groups[i]
		gr := GroupReport{ID: g.ID, Name: g.Name, Units: len(g.Units), Frozen: g.Frozen, NoLayer: g.NoLayer, Kind: string(g.Kind), MACs: s.Analysis.GroupMACs(g)}
		if g.Frozen == "" {
			r.Prunable += len(g.Units)
		}
		for _, m := range g.Members {
			gr.Members = append(gr.Members, MemberReport{m.Const.Name, s.Analysis.NameOf(m.Const), s.Analysis.LayerOf(m.Const), m.Axis, m.Role.String()})
		}
		r.Groups = append(r.Groups, gr)
	}
	return r
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func describe(v *op.Value) string {
	if v == nil {
		return ""
	}
	if !v.Ranked {
		return fmt.Sprintf("%s %s", v.Name, v.Type)
	}
	dims := make([]string, len(v.Shape))
	for i, d := range v.Shape {
		dims[i] = d.String()
	}
	return fmt.Sprintf("%s %s[%s]", v.Name, v.Type, strings.Join(dims, ","))
}

// Size returns the size of the model's file in bytes.
func (s *Model) Size() int64 { return s.size }
