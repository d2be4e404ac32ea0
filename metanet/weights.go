package metanet

import (
	_ "embed"
	"fmt"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
)

// Format and Version are what the metadata of a metanetwork's file say. The version counts up when its parameters or metadata change their meaning.
const (
	Format  = "metaprune-metanet"
	Version = 1
)

// readable refuses a metanetwork of a version that this program does not know. Files of other formats have none: checkpoints of the paper's code.
func readable(metadata map[string]string) error {
	v := metadata["version"]
	if metadata["format"] != Format || v == "" || v == strconv.Itoa(Version) {
		return nil
	}
	if n, err := strconv.Atoi(v); err == nil && n > Version {
		return fmt.Errorf("made by a newer metaprune (metanetwork version %d); this program reads version %d: update it", n, Version)
	}
	return fmt.Errorf("metadata version is %q, want %d", v, Version)
}

//go:embed universal.safetensors
var embedded []byte

// Default returns the metanetwork that is part of the program.
var Default = sync.OnceValues(func() (*Network, error) {
	f, err := safetensors.Parse(embedded)
	if err != nil {
		return nil, err
	}
	return Load(f)
})

// DefaultFile returns the bytes of the safetensors file that Default loads. They must not be changed.
func DefaultFile() []byte { return embedded }

// Sizes describe a new metanetwork.
type Sizes struct {
	Hidden, Layers, NodeIn int
	Scheme                 string
	EdgeTypes              []string // names by type; one empty name for a single encoder
	EdgeIn                 []int    // features by type
	Frozen                 []bool   // by type: edges without parameters, which need no decoder
}

// New returns the weights of an untrained metanetwork, drawn by seed. Its decoders end in zeros, so that it passes a network's weights on unchanged until it is trained.
func New(s Sizes, seed uint64) *safetensors.File {
	f := &safetensors.File{Tensors: map[string]*safetensors.Tensor{}, Metadata: map[string]string{
		"format": Format, "version": strconv.Itoa(Version), "scheme": s.Scheme, "name": "untrained", "hidden": strconv.Itoa(s.Hidden), "layers": strconv.Itoa(s.Layers),
		"node_res_ratio": "0.05", "edge_res_ratio": "0.05", "seed": strconv.FormatUint(seed, 10),
		"training": "none: the decoders are zero, weights pass unchanged"}}
	if len(s.EdgeTypes) > 1 {
		f.Metadata["edge_types"] = strings.Join(s.EdgeTypes, ",")
	}
	r := rand.New(rand.NewPCG(seed, 0))
	lin := func(name string, in, out int, zero bool) {
		bound := 1 / math.Sqrt(float64(in))
		draw := func(n int) []float32 {
			v := make([]float32, n)
			for i := range v {
				if !zero {
					v[i] = float32((2*r.Float64() - 1) * bound)
				}
			}
			return v
		}
		f.Tensors[name+".weight"], f.Tensors[name+".bias"] = safetensors.FloatTensor(draw(in*out), out, in), safetensors.FloatTensor(draw(out), out)
	}
	h := s.Hidden
	lin("nodeEnc", s.NodeIn, h, false)
	decoder := func(name string, out int) {
		lin(name+".1", h, h, false)
		lin(name+".3", h, out, true)
	}
	decoder("nodeDec", s.NodeIn)
	for i, k := range s.EdgeIn {
		suffix := ""
		if len(s.EdgeTypes) > 1 {
			suffix = "_" + s.EdgeTypes[i]
		}
		lin("edgeEnc"+suffix, k, h, false)
		if i >= len(s.Frozen) || !s.Frozen[i] {
			decoder("edgeDec"+suffix, k)
		}
	}
	for l := range s.Layers {
		for k := range 4 {
			lin(fmt.Sprintf("convs.%d.lin%d.0", l, k+1), h, h, false)
		}
		lin(fmt.Sprintf("convs.%d.downlin", l), 4*h, h, false)
	}
	return f
}

// Scheme returns the feature scheme that the metanetwork was trained for, empty where its file does not say.
func (n *Network) Scheme() string { return n.Metadata["scheme"] }

// Normalizer returns the normaliser of scores that the metanetwork was trained for, as its metadata name it; empty where they do not.
func (n *Network) Normalizer() string { return n.Metadata["normalizer"] }

// Ratios returns the residual ratios in the metadata, DefaultRatio where there are none.
func (n *Network) Ratios() (node, edge float64, err error) {
	return ratios(n.Metadata)
}

// Ratios returns the residual ratios in a file's metadata, DefaultRatio where there are none.
func FileRatios(f *safetensors.File) (node, edge float64, err error) { return ratios(f.Metadata) }

func ratios(metadata map[string]string) (node, edge float64, err error) {
	node, edge = DefaultRatio, DefaultRatio
	for key, at := range map[string]*float64{"node_res_ratio": &node, "edge_res_ratio": &edge} {
		s := metadata[key]
		if s == "" {
			continue
		}
		if *at, err = strconv.ParseFloat(s, 64); err != nil || math.IsNaN(*at) || math.IsInf(*at, 0) {
			return 0, 0, fmt.Errorf("metadata %s %q is not a number", key, s)
		}
	}
	return node, edge, nil
}

// Convert returns the metanetwork's file with its sizes and the feature scheme in the metadata, under the same parameter names, and without what is never used: a checkpoint of the paper's code becomes a
// metanetwork that other commands take.
func Convert(f *safetensors.File, scheme string) (*safetensors.File, error) {
	out := &safetensors.File{Metadata: map[string]string{}, Tensors: map[string]*safetensors.Tensor{}}
	for k, v := range f.Metadata {
		out.Metadata[k] = v
	}
	for name, t := range f.Tensors {
		name = strings.TrimPrefix(name, "module.")
		if strings.HasPrefix(name, "mlps.") {
			continue
		}
		if t.DType == "F64" {
			v, err := t.Floats()
			if err != nil {
				return nil, fmt.Errorf("parameter %s: %w", name, err)
			}
			t = safetensors.FloatTensor(v, t.Shape...)
		}
		out.Tensors[name] = t
	}
	n, err := Load(out)
	if err != nil {
		return nil, err
	}
	node, edge, err := FileRatios(f)
	if err != nil {
		return nil, err
	}
	set := func(key, value string) {
		if out.Metadata[key] == "" {
			out.Metadata[key] = value
		}
	}
	if old := out.Metadata["scheme"]; old != "" && old != scheme {
		return nil, fmt.Errorf("the metanetwork is of feature scheme %q, and cannot be used as %q", old, scheme)
	}
	out.Metadata["format"] = Format // a checkpoint's own is that of its framework
	set("version", strconv.Itoa(Version))
	set("scheme", scheme)
	set("hidden", strconv.Itoa(n.Hidden))
	set("layers", strconv.Itoa(n.Layers))
	set("node_res_ratio", strconv.FormatFloat(node, 'g', -1, 64))
	set("edge_res_ratio", strconv.FormatFloat(edge, 'g', -1, 64))
	set("training", "not recorded")
	return out, nil
}
