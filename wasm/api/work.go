package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
)

func (h *handler) health(w http.ResponseWriter, r *http.Request, _ *Event) error {
	state := map[string]string{"status": "ok", "version": h.config.Version}
	w.Header().Set("Cache-Control", "no-store")
	if h.draining.Load() {
		return problem(http.StatusServiceUnavailable, "", "shutting down")
	}
	return writeJSON(w, r, state)
}

func (h *handler) openapi(w http.ResponseWriter, r *http.Request, _ *Event) error {
	return writeBody(w, r, "application/json", h.document)
}

func (h *handler) ops(w http.ResponseWriter, r *http.Request, _ *Event) error {
	return writeJSON(w, r, op.Operators())
}

// weight is about the memory that work on a model takes besides the model: what is made of it, its analysis, and other bytes.
func weight(model, other int64, metanetwork bool) int64 {
	n := model + other + 16<<20
	if metanetwork {
		n += model + 64<<20
	}
	return n
}

// with receives a request, waits for room, opens the model and works on it.
func (h *handler) with(r *http.Request, e *Event, do func(ctx context.Context, s *prune.Model, f *form) error) error {
	f, err := h.receive(r)
	if err != nil {
		return err
	}
	defer f.free()
	f.progress, _ = r.Context().Value(progressKey{}).(*progress)
	if err := r.Context().Err(); err != nil {
		return err
	}
	if f.model != nil && f.model.Model != nil {
		return h.streamed(r, e, f, do)
	}
	if f.model == nil || len(f.model.Data) == 0 {
		return problem(http.StatusBadRequest, "body", "the request has no model; send it as the body or as the part %q of a form", partModel)
	}
	e.Received = int64(len(f.model.Data))
	byMetanet := f.job.Criterion.Kind == "metanet"
	limit := h.config.MaxBytes
	if byMetanet {
		limit = h.config.MaxMetanetBytes
	}
	if e.Received > limit {
		return limited(http.StatusRequestEntityTooLarge, limit, "the model has %d bytes, more than the %d that may be", e.Received, limit)
	}
	other := int64(0)
	if f.repaired != nil {
		other += int64(len(f.repaired.Data))
	}
	if f.plan != nil {
		other += planner.PlanMemory(f.plan.Data)
	}
	if f.samples != nil {
		other += sampleShare * int64(len(f.samples.Data))
	}
	done, err := h.gate.work(r.Context(), weight(e.Received, other, byMetanet))
	if err != nil {
		return err
	}
	defer done()
	s, err := prune.Read(f.model.Data, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	if f.model.SHA256 != nil {
		s.Hashed(f.model.SHA256)
	}
	s.StartHash()
	if err := f.job.countAt(s); err != nil {
		return err
	}
	return do(r.Context(), s, f)
}

// streamed works on a model whose larger tensors are read when they are wanted.
func (h *handler) streamed(r *http.Request, e *Event, f *form, do func(ctx context.Context, s *prune.Model, f *form) error) error {
	e.Received = f.model.Size
	done, err := h.gate.work(r.Context(), weight(h.config.Stream.Tensor+h.config.Stream.Kept, 0, false))
	if err != nil {
		return err
	}
	defer done()
	s, err := prune.FromStream(f.model.Model, f.model.Size)
	if err != nil {
		return err
	}
	defer s.Close()
	s.Hashed(f.model.SHA256)
	if err := f.job.countAt(s); err != nil {
		return err
	}
	return do(r.Context(), s, f)
}

func (h *handler) inspect(w http.ResponseWriter, r *http.Request, e *Event) error {
	return h.with(r, e, func(_ context.Context, s *prune.Model, f *form) error {
		if err := h.condition(w, r, s, "inspect", f); err != nil {
			return err
		}
		return writeJSON(w, r, s.Inspect())
	})
}

// plan chooses what leaves, unless the client has the answer already.
func (h *handler) plan(ctx context.Context, w http.ResponseWriter, r *http.Request, what string, s *prune.Model, f *form) (*prune.Prepared, *planner.Plan, error) {
	if f.job.share > 0 {
		f.job.Target.Bytes = int64(f.job.share * float64(s.Size()))
	}
	if err := f.job.check(); err != nil {
		return nil, nil, err
	}
	if err := h.condition(w, r, s, what, f); err != nil {
		return nil, nil, err
	}
	if err := h.calibrate(ctx, what, s, f); err != nil {
		return nil, nil, err
	}
	p, err := h.prepare(ctx, s, f.job.Criterion.Kind, f.job.weights)
	if err != nil {
		return nil, nil, err
	}
	f.progress.begin("planning")
	plan, err := p.MakePlan(ctx, f.job.Request)
	if err != nil {
		return nil, nil, err
	}
	s.Sign(plan)
	return p, plan, nil
}

func (h *handler) prepare(ctx context.Context, s *prune.Model, criterion, weights string) (*prune.Prepared, error) {
	if criterion != "metanet" {
		return s.Prepare(ctx, criterion, weights, nil, metanet.Options{})
	}
	m, err := h.metanet()
	if err != nil {
		return nil, err
	}
	return s.Prepare(ctx, criterion, weights, m, h.config.MetanetOptions)
}

func (h *handler) masks(w http.ResponseWriter, r *http.Request, e *Event) error {
	return h.with(r, e, func(ctx context.Context, s *prune.Model, f *form) error {
		_, plan, err := h.plan(ctx, w, r, "masks", s, f)
		if err != nil {
			return err
		}
		b, err := planner.MarshalPlan(plan)
		if err != nil {
			return err
		}
		achieved(w, plan)
		return writeBody(w, r, "application/json", b)
	})
}

func (h *handler) prune(w http.ResponseWriter, r *http.Request, e *Event) error {
	return h.with(r, e, func(ctx context.Context, s *prune.Model, f *form) error {
		p, plan, err := h.plan(ctx, w, r, "prune", s, f)
		if err != nil {
			return err
		}
		m, err := p.Apply(plan)
		if err != nil {
			return err
		}
		if m, err = f.mend(ctx, w, p, plan, m); err != nil {
			return err
		}
		achieved(w, plan)
		return writeModel(w, m, "pruned.onnx")
	})
}

func (h *handler) apply(w http.ResponseWriter, r *http.Request, e *Event) error {
	return h.with(r, e, func(ctx context.Context, s *prune.Model, f *form) error {
		if f.plan == nil {
			return problem(http.StatusBadRequest, "body", "the request has no plan; send model and plan as parts of a form")
		}
		plan, err := planner.ParsePlan(f.plan.Data)
		if err != nil {
			return err
		}
		if plan.ModelSHA256 != "" && plan.ModelSHA256 != s.SHA256() {
			return problem(http.StatusConflict, "part plan", "it was made for a model with SHA-256 %s, this one has %s", plan.ModelSHA256, s.SHA256())
		}
		if f.repaired != nil {
			if err := prune.Attach(plan, f.repaired.Data); err != nil {
				return problem(http.StatusUnprocessableEntity, "part repaired", "%v", err)
			}
		}
		if err := h.condition(w, r, s, "apply", f); err != nil {
			return err
		}
		var m *prune.Metanet
		if plan.Weights == "metanet" {
			if m, err = h.metanet(); err != nil {
				return err
			}
		}
		p, err := s.PrepareReplay(ctx, plan, m, h.config.MetanetOptions)
		if err != nil {
			return err
		}
		small, err := p.Apply(plan)
		if err != nil {
			return err
		}
		achieved(w, plan)
		return writeModel(w, small, "pruned.onnx")
	})
}

// condition tags the answer by the model's hash and what is asked of it, and fails where the client has it already.
func (h *handler) condition(w http.ResponseWriter, r *http.Request, s *prune.Model, what string, f *form) error {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q %q %q", h.config.Version, what, s.SHA256(), f.job.key())
	for _, u := range []*Upload{f.plan, f.repaired, f.samples} {
		if u != nil {
			fmt.Fprintf(sum, " %q", u.sha256())
		} else {
			fmt.Fprint(sum, " none")
		}
	}
	tag := fmt.Sprintf(`"%x"`, sum.Sum(nil)[:16])
	w.Header().Set("Etag", tag)
	w.Header().Set("Metaprune-Model-Sha256", s.SHA256())
	for known := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if known = strings.TrimPrefix(strings.TrimSpace(known), "W/"); known == tag || known == "*" {
			return problem(http.StatusPreconditionFailed, "header If-None-Match", "the answer has not changed: its tag is %s", tag)
		}
	}
	return nil
}

// achieved puts into headers what a plan reaches, and what to expect of the model that it makes.
func achieved(w http.ResponseWriter, p *planner.Plan) {
	ratio := func(v [2]int64) string { return strconv.FormatFloat(float64(v[0])/float64(max(v[1], 1)), 'f', 4, 64) }
	w.Header().Set("Metaprune-Speed-Up", ratio(p.Achieved.MACs))
	w.Header().Set("Metaprune-Params", ratio(p.Achieved.Params))
	for _, x := range p.NewWarnings() {
		w.Header().Add("Metaprune-Warning", x.Code+": "+x.String())
	}
}

// writeModel sends a model.
func writeModel(w http.ResponseWriter, m *onnxio.Model, name string) error {
	head := w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	head.Set("Content-Length", strconv.FormatInt(m.EncodedSize(), 10))
	return m.Encode(w)
}
