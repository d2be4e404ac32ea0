package api

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
)

// Engine runs models, for repairs and for the criteria that look at samples.
type Engine interface {
	// Calibrate reads samples, or makes noise, for a model. Close of what it returns frees them.
	Calibrate(ctx context.Context, s *prune.Model, c Calibration) (Calibrated, error)
}

// Calibration is what a request says of calibration samples.
type Calibration struct {
	Samples []byte // an NPZ file, or a zip file of pictures or sound; nil for noise
	Inputs  []string
	Seed    int64
}

// Calibrated are samples of one model, and the engine that runs it.
type Calibrated interface {
	// Scores are those of a criterion that looks at samples.
	Scores(ctx context.Context, criterion string) (planner.Scores, error)
	// Repair fits the weights of m, which a plan has made, to the original's outputs.
	Repair(ctx context.Context, p *planner.Plan, m *onnxio.Model, progress func(done, total int)) (*Repaired, error)
	Close()
}

// Repaired is what a repair came to, on samples that were held back.
type Repaired struct {
	Method        string               // none where no repair came closer to the original
	Tensors       map[string][]float32 // the weights that it changed
	Before, After float64              // cosine to the original's outputs
	Held          int                  // samples that judged
	Skipped       int                  // pruned layers that the repair does not fit
}

// repairHeader says what was repaired and how close the model came.
const repairHeader = "Metaprune-Repair"

// sampleShare is how many times its size a file of samples takes in memory, unpacked and on its way through a model.
const sampleShare = 8

// Modes of a repair.
const (
	repairNone  = "none"
	repairNoise = "noise"
	repairData  = "data"
)

// mode is the repair that a request wants.
func (f *form) mode() string {
	switch {
	case f.job.repair != "":
		return f.job.repair
	case f.samples != nil:
		return repairData
	}
	return repairNone
}

// calibrate opens the samples of a request, where it needs an engine, and scores by them.
func (h *handler) calibrate(ctx context.Context, what string, s *prune.Model, f *form) error {
	mode, looks := f.mode(), prune.LooksAtSamples(f.job.Criterion.Kind)
	if what == "masks" && mode != repairNone && !looks {
		return problem(http.StatusBadRequest, f.wants(mode), "a plan of /v1/masks holds no repaired weights; send the request to /v1/prune, or want criterion obs, wanda or hessian, which choose by samples")
	}
	if err := f.checkSamples(mode, looks); err != nil || mode == repairNone && !looks {
		return err
	}
	if h.config.Engine == nil || f.model.Model != nil {
		return problem(http.StatusNotImplemented, f.wants(mode), "this service has no engine that runs models; send the request to `metaprune serve`, or use the command line with option \"calibrate DIR\" or option \"repair noise\"")
	}
	c := Calibration{Inputs: f.job.inputs, Seed: f.job.Criterion.Seed}
	if f.samples != nil {
		c.Samples = f.samples.Data
	}
	f.progress.begin("reading samples")
	var err error
	if f.calibrated, err = h.config.Engine.Calibrate(ctx, s, c); err != nil {
		return err
	}
	if !looks {
		return nil
	}
	f.progress.begin("scores by " + f.job.Criterion.Kind)
	f.job.Scores, err = f.calibrated.Scores(ctx, f.job.Criterion.Kind)
	return err
}

// wants is the place of a request that needs an engine.
func (f *form) wants(mode string) string {
	switch {
	case f.samples != nil:
		return "part " + partSamples
	case mode != repairNone:
		return "query repair"
	}
	return "query criterion"
}

// checkSamples refuses samples without a use, and uses without samples.
func (f *form) checkSamples(mode string, looks bool) error {
	pattern := f.job.Pattern != "" && f.job.Pattern != "channels"
	switch {
	case pattern && (mode != repairNone || looks):
		return problem(http.StatusBadRequest, f.wants(mode), "a repair would fill the zeros of pattern %s again; omit samples and repair", f.job.Pattern)
	case mode == repairData && f.samples == nil:
		return problem(http.StatusBadRequest, "query repair", "repair data wants samples: send the part %q of a form, an NPZ file or a zip file of pictures", partSamples)
	case mode == repairNoise && f.samples != nil:
		return problem(http.StatusBadRequest, "part "+partSamples, "repair noise takes no samples; want repair data, or no part %q", partSamples)
	case mode == repairNone && f.samples != nil && !looks:
		return problem(http.StatusBadRequest, "part "+partSamples, "nothing reads the samples; want repair data, or criterion obs, wanda or hessian")
	case looks && f.job.Steps > 1:
		return problem(http.StatusBadRequest, "query steps", "criterion %s scores the whole model once; omit steps", f.job.Criterion.Kind)
	case looks && f.samples == nil && mode != repairNoise:
		return problem(http.StatusBadRequest, "query criterion", "criterion %s wants samples: send the part %q of a form, or want repair noise", f.job.Criterion.Kind, partSamples)
	}
	return nil
}

// mend repairs a pruned model where the request wants it, and says so in a header.
func (f *form) mend(ctx context.Context, w http.ResponseWriter, s *prune.Prepared, p *planner.Plan, m *onnxio.Model) (*onnxio.Model, error) {
	mode := f.mode()
	if mode == repairNone {
		w.Header().Set(repairHeader, repairNone)
		return m, nil
	}
	f.progress.begin("repair")
	r, err := f.calibrated.Repair(ctx, p, m, f.progress.set)
	if err != nil {
		return nil, err
	}
	w.Header().Set(repairHeader, fmt.Sprintf("%s;method=%s;cosine-before=%.4f;cosine=%.4f;held=%d;skipped=%d", mode, r.Method, r.Before, r.After, r.Held, r.Skipped))
	if r.Method == repairNone {
		return m, nil
	}
	if _, err := prune.Repaired(p, mode, "", r.Tensors); err != nil {
		return nil, err
	}
	return s.Apply(p)
}

type progressKey struct{}

// progress is how far a request is. The zero value waits; nil notes nothing.
type progress struct {
	mu          sync.Mutex
	stage       string
	done, total int
}

func (p *progress) begin(stage string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stage, p.done, p.total = stage, 0, 0
}

func (p *progress) set(done, total int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.total = done, total
}

// Progress is how far a request is: steps of the stage that are done, of total ones, which is 0 where it is not known.
type Progress struct {
	Stage string `json:"stage"`
	Done  int    `json:"done"`
	Total int    `json:"total"`
}

// progressOf answers how far a request with a model is, by its request ID.
func (h *handler) progressOf(w http.ResponseWriter, r *http.Request, _ *Event) error {
	id := r.URL.Query().Get("id")
	v, ok := h.running.Load(id)
	if !ok {
		return problem(http.StatusNotFound, "query id", "no request with this X-Request-Id is under way")
	}
	p := v.(*progress)
	p.mu.Lock()
	out := Progress{p.stage, p.done, p.total}
	p.mu.Unlock()
	if out.Stage == "" {
		out.Stage = "receiving"
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, r, out)
}
