package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
)

// Memory that opening and cutting a model takes besides the file itself, and what a page can have: WebAssembly has 4 GiB, and the smaller model is made beside the original.
const (
	baseBytes  = 48 << 20
	maxBytes   = 1<<31 - 1 // what protobuf has room for
	streamFrom = 256 << 20 // larger files are read tensor by tensor
)

// estimate is about the memory that work on a file of so many bytes takes at most.
func estimate(size int64) int64 {
	if size >= streamFrom {
		return size + size/4 + baseBytes // one tensor may be nearly all of it
	}
	return 2*size + size/4 + baseBytes
}

// tool is one open model.
type tool struct {
	session  *prune.Model
	prepared map[string]*prune.Prepared // by criterion and weights
	scores   map[scoring]planner.Scores
	given    *given   // nil where the page has no samples
	sizes    []string // of inputs that work is counted at; nil for assumed ones
	progress func(what string, done, total int)
}

// scoring is what scores depend on.
type scoring struct {
	criterion, reduction, normalizer string
	seed                             int64
}

// request is what the page asks for.
type request struct {
	Target     planner.Target `json:"target"`
	Criterion  string         `json:"criterion"`
	Reduction  string         `json:"reduction"`
	Normalizer string         `json:"normalizer"`
	Ranking    string         `json:"ranking"`
	Pattern    string         `json:"pattern"`
	Sparsity   float64        `json:"sparsity"`
	Steps      int            `json:"steps"`
	RoundTo    int            `json:"round_to"`
	MaxRatio   float64        `json:"max_ratio"`
	Ignore     []string       `json:"ignore"`
	Seed       int64          `json:"seed"`
	Inputs     []string       `json:"inputs"`    // sizes that work is counted at, such as x=1x3x224x224; where it is missing, the last ones given
	Attention  string         `json:"attention"` // heads or head-dim: only these leave of an attention
}

func (r *request) criterion() planner.Criterion {
	return planner.Criterion{Kind: r.Criterion, Reduction: r.Reduction, Normalizer: r.Normalizer, Seed: r.Seed}
}

// scoring omits the options that do not change scores from samples.
func (r *request) scoring() scoring {
	if r.Criterion == observed {
		return scoring{criterion: observed}
	}
	return scoring{r.Criterion, r.Reduction, r.Normalizer, r.Seed}
}

// view is a plan as the page shows it.
type view struct {
	Plan   string              `json:"plan"` // the plan file, which the command line replays
	MACs   [2]int64            `json:"macs"`
	Params [2]int64            `json:"params"`
	Bytes  [2]int64            `json:"bytes"` // of all constants
	Groups []planner.PlanGroup `json:"groups"`
	Zeros  bool                `json:"zeros"` // zeros instead of smaller tensors

	CountedAt *coupling.Counted `json:"counted_at,omitempty"` // sizes of inputs that the model leaves free

	Warnings []planner.Warning `json:"warnings"` // what to expect of the model
}

// opened is what a model consists of and what it wants to be fed.
type opened struct {
	*prune.Report
	Tensors []input `json:"tensors"`
}

// open reads a model.
func (t *tool) open(data []byte) (*opened, error) {
	s, err := prune.Read(data, nil)
	if err != nil {
		return nil, err
	}
	s.StartHash()
	return t.with(s), nil
}

// with takes an open model.
func (t *tool) with(s *prune.Model) *opened {
	t.sizes = nil
	t.session, t.prepared, t.scores, t.given = s, map[string]*prune.Prepared{}, map[scoring]planner.Scores{}, nil
	return &opened{s.Inspect(), t.inputs()}
}

// inspect counts the work at other sizes of inputs, or where there are none at assumed ones.
func (t *tool) inspect(inputs []string) (*opened, error) {
	if t.session == nil {
		return nil, errNoModel
	}
	if err := t.countAt(inputs); err != nil {
		return nil, err
	}
	return &opened{t.session.Inspect(), t.inputs()}, nil
}

func (t *tool) countAt(inputs []string) error {
	if slices.Equal(inputs, t.sizes) {
		return nil
	}
	sizes, err := coupling.ParseSizes(inputs)
	if err == nil {
		err = t.session.CountAt(sizes)
	}
	if err == nil {
		t.sizes = inputs
	}
	return err
}

// openFile reads a model of which only parts are in memory at a time.
func (t *tool) openFile(size int64, file onnxio.ReadRange) (*opened, error) {
	since := int64(0)
	read := func(offset, length int64) ([]byte, error) {
		if since += length; since > collectEvery {
			since = 0
			debug.FreeOSMemory() // nothing waits here, so that the collector would get no turn of its own
		}
		return file(offset, length)
	}
	m, err := onnxio.DecodeParts(size, read, onnxio.StreamLimits{Part: streamPart, Tensor: maxBytes, Kept: streamKept})
	if err != nil {
		return nil, err
	}
	s, err := prune.FromStream(m, size)
	if err != nil {
		return nil, err
	}
	s.Hashed(func() string {
		sum := sha256.New()
		for at := int64(0); at < size; at += streamChunk {
			b, err := read(at, min(streamChunk, size-at))
			if err != nil {
				return "" // the next part that is read says why
			}
			sum.Write(b)
		}
		return hex.EncodeToString(sum.Sum(nil))
	})
	return t.with(s), nil
}

// Sizes in bytes of files that are read tensor by tensor: raw elements from which on they stay in the file, all the rest, and what is read at a time.
const (
	streamPart  = 64 << 10
	streamKept  = 512 << 20
	streamChunk = 4 << 20
)

// collectEvery is how many bytes are read until memory is collected.
const collectEvery = 64 << 20

var errNoModel = errors.New("no model is open")

// score computes the importance of all channels, once for each criterion.
func (t *tool) score(ctx context.Context, r *request) (*prune.Prepared, planner.Scores, error) {
	if t.session == nil {
		return nil, nil, errNoModel
	}
	p := t.prepared[r.Criterion]
	if p == nil {
		var m *prune.Metanet
		o := metanet.Options{Progress: func(done, total int) { t.report("metanetwork", done, total) }}
		if r.Criterion == "metanet" {
			var err error
			if m, err = prune.LoadMetanet(nil); err != nil {
				return nil, nil, err
			}
		}
		var err error
		if p, err = t.session.Prepare(ctx, r.Criterion, "original", m, o); err != nil {
			return nil, nil, err
		}
		t.prepared[r.Criterion] = p
	}
	key := r.scoring()
	s := t.scores[key]
	if s == nil && r.Criterion == observed {
		return nil, nil, errors.New("criterion obs needs samples: give samples first")
	}
	if s == nil {
		var err error
		if s, err = p.Score(r.criterion()); err != nil {
			return nil, nil, err
		}
		t.scores[key] = s
	}
	return p, s, nil
}

func (t *tool) report(what string, done, total int) {
	if t.progress != nil {
		t.progress(what, done, total)
	}
}

// plan chooses what leaves.
func (t *tool) plan(ctx context.Context, r *request) (*view, error) {
	p, scores, err := t.score(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.Inputs != nil {
		if err := t.countAt(r.Inputs); err != nil {
			return nil, err
		}
	}
	q := prune.Request{Pattern: r.Pattern, Sparsity: cmp.Or(r.Sparsity, .5)}
	q.Target, q.Criterion, q.Ranking, q.Steps, q.RoundTo, q.MaxRatio, q.Ignore, q.Scores = r.Target, r.criterion(), r.Ranking, r.Steps, r.RoundTo, r.MaxRatio, r.Ignore, scores
	q.Attention = coupling.Kind(r.Attention)
	plan, err := p.MakePlan(ctx, q)
	if err != nil {
		return nil, err
	}
	t.session.Sign(plan)
	raw, err := planner.MarshalPlan(plan)
	if err != nil {
		return nil, err
	}
	return &view{Plan: string(raw), MACs: plan.Achieved.MACs, Params: plan.Achieved.Params, Bytes: plan.Achieved.Bytes, Groups: plan.Groups, Zeros: len(plan.Zeroed) > 0, CountedAt: plan.CountedAt, Warnings: plan.NewWarnings()}, nil
}

// apply makes the smaller model; fitted is the file of a plan's repair, nil where it has none.
func (t *tool) apply(raw, fitted []byte) (*onnxio.Model, error) {
	if t.session == nil {
		return nil, errNoModel
	}
	p, err := t.parsePlan(raw)
	if err != nil {
		return nil, err
	}
	if fitted != nil {
		if err := prune.Attach(p, fitted); err != nil {
			return nil, err
		}
	}
	return t.session.Apply(p)
}

func (t *tool) parsePlan(raw []byte) (*planner.Plan, error) {
	p, err := planner.ParsePlan(raw)
	if err == nil && p.Weights == "metanet" {
		return nil, errors.New("this plan needs weights of a metanetwork; use the command line to replay it")
	}
	return p, err
}

// place is where in a model an error lies, empty where it does not.
func place(err error) string {
	var f *onnxio.FormatError
	var u *onnxio.UnsupportedError
	switch {
	case errors.As(err, &f):
		return f.Path
	case errors.As(err, &u):
		return u.Path
	}
	return ""
}

// parse reads a request and says which field it does not know.
func parse(raw string) (*request, error) {
	var known map[string]json.RawMessage
	var r request
	if err := json.Unmarshal([]byte(raw), &known); err != nil {
		return nil, fmt.Errorf("the request cannot be read: %w", err)
	}
	fields := []string{"target", "criterion", "reduction", "normalizer", "ranking", "pattern", "sparsity", "steps", "round_to", "max_ratio", "ignore", "seed", "attention", "inputs"}
	for name := range known {
		if !slices.Contains(fields, name) {
			return nil, fmt.Errorf("no such option %q; the options are %q", name, fields)
		}
	}
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		return nil, fmt.Errorf("the request cannot be read: %w", err)
	}
	if r.Criterion == "" {
		r.Criterion = "l2"
	}
	return &r, nil
}
