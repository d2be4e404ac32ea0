package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/wasm/api"
)

// Client of one service.
type Client struct {
	URL   string       // such as http://localhost:8080
	Token string       // bearer token, empty for none
	HTTP  *http.Client // nil for http.DefaultClient

	Repaired func(text string) // is told what a repair came to, such as "data;method=solve;cosine-before=0.4862;cosine=0.9934;held=20;skipped=0"; may be nil
	Warning  func(text string) // is told what to expect of a model that comes, such as "unrepaired: expect ..."; may be nil
}

// Options of a request; zero values are left to the service.
type Options struct {
	SpeedUp, Params, Ratio, MaxRatio, Sparsity                  float64
	Size                                                        string // such as 10MB
	Criterion, Weights, Reduction, Normalizer, Ranking, Pattern string
	Steps, RoundTo                                              int
	Attention                                                   string   // of attention, only "heads" or only "head-dim"
	CountComputed                                               bool     // of SpeedUp: count the MACs with shapes evaluated alone
	Input                                                       []string // sizes that work is counted at, such as x=1x3x224x224
	Ignore                                                      []string
	Seed                                                        int64
	Repair                                                      string // none, noise or data; by default data with samples, else none
}

// query are the options as query parameters.
func (o Options) query() string {
	q := url.Values{}
	for name, v := range map[string]float64{"speed-up": o.SpeedUp, "params": o.Params, "ratio": o.Ratio, "max-ratio": o.MaxRatio, "sparsity": o.Sparsity} {
		if v != 0 {
			q.Set(name, strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	for name, v := range map[string]string{"size": o.Size, "criterion": o.Criterion, "weights": o.Weights, "reduction": o.Reduction, "normalizer": o.Normalizer, "ranking": o.Ranking, "pattern": o.Pattern, "attention": o.Attention, "repair": o.Repair} {
		if v != "" {
			q.Set(name, v)
		}
	}
	for name, v := range map[string]int64{"steps": int64(o.Steps), "round-to": int64(o.RoundTo), "seed": o.Seed} {
		if v != 0 {
			q.Set(name, strconv.FormatInt(v, 10))
		}
	}
	if o.CountComputed {
		q.Set("count-computed", "true")
	}
	q["ignore"], q["input"] = o.Ignore, o.Input
	return q.Encode()
}

// Inspect reports what a model consists of.
func (c *Client) Inspect(ctx context.Context, model io.Reader) (*prune.Report, error) {
	var out prune.Report
	return &out, c.call(ctx, "/v1/inspect", "application/octet-stream", model, func(r io.Reader) error { return json.NewDecoder(r).Decode(&out) })
}

// Masks plans what would leave a model.
func (c *Client) Masks(ctx context.Context, model io.Reader, o Options) (p *planner.Plan, err error) {
	err = c.call(ctx, "/v1/masks?"+o.query(), "application/octet-stream", model, readPlan(&p))
	return p, err
}

// MasksWith is Masks with calibration samples, for the criteria obs, wanda and hessian.
func (c *Client) MasksWith(ctx context.Context, model, samples io.Reader, o Options) (p *planner.Plan, err error) {
	err = c.send(ctx, "/v1/masks?"+o.query(), []filePart{{"samples", samples}, {"model", model}}, readPlan(&p))
	return p, err
}

// readPlan reads a plan into to.
func readPlan(to **planner.Plan) func(io.Reader) error {
	return func(r io.Reader) error {
		b, err := io.ReadAll(r)
		if err == nil {
			*to, err = planner.ParsePlan(b)
		}
		return err
	}
}

// Prune writes the smaller model to w. After an error what was written is not a model.
func (c *Client) Prune(ctx context.Context, model io.Reader, o Options, w io.Writer) error {
	return c.call(ctx, "/v1/prune?"+o.query(), "application/octet-stream", model, func(r io.Reader) error { return copied(w, r) })
}

// PruneWith is Prune with calibration samples, an NPZ file or a zip file of pictures, that the model is repaired on.
func (c *Client) PruneWith(ctx context.Context, model, samples io.Reader, o Options, w io.Writer) error {
	return c.send(ctx, "/v1/prune?"+o.query(), []filePart{{"samples", samples}, {"model", model}}, func(r io.Reader) error { return copied(w, r) })
}

// Progress is how far a request is that is under way, by its X-Request-Id ([WithRequestID]).
func (c *Client) Progress(ctx context.Context, id string) (*api.Progress, error) {
	var out api.Progress
	return &out, c.do(ctx, http.MethodGet, "/v1/progress?"+url.Values{"id": {id}}.Encode(), "", nil, func(r io.Reader) error { return json.NewDecoder(r).Decode(&out) })
}

type requestID struct{}

// WithRequestID gives the requests that are made with a context an X-Request-Id, by which Progress finds them.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestID{}, id)
}

// Apply writes the model that a plan describes to w; repaired is the file beside the plan, nil where it has none. After an error what was written is not a model.
func (c *Client) Apply(ctx context.Context, model io.Reader, p *planner.Plan, repaired io.Reader, w io.Writer) error {
	plan, err := planner.MarshalPlan(p)
	if err != nil {
		return err
	}
	files := []filePart{{"plan", bytes.NewReader(plan)}, {"repaired", repaired}, {"model", model}}
	return c.send(ctx, "/v1/apply", files, func(r io.Reader) error { return copied(w, r) })
}

// filePart is a file of a form; nil is none.
type filePart struct {
	name string
	r    io.Reader
}

// send posts a form of files.
func (c *Client) send(ctx context.Context, path string, files []filePart, read func(io.Reader) error) error {
	body, pipe := io.Pipe()
	form := multipart.NewWriter(pipe)
	go func() { pipe.CloseWithError(errors.Join(parts(form, files), form.Close())) }()
	err := c.call(ctx, path, form.FormDataContentType(), body, read)
	return errors.Join(err, body.Close())
}

func parts(form *multipart.Writer, files []filePart) error {
	for _, p := range files {
		if p.r == nil {
			continue
		}
		w, err := form.CreateFormFile(p.name, p.name)
		if err == nil {
			err = copied(w, p.r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copied(w io.Writer, r io.Reader) error {
	_, err := io.Copy(w, r)
	return err
}

func (c *Client) call(ctx context.Context, path, kind string, body io.Reader, read func(io.Reader) error) error {
	return c.do(ctx, http.MethodPost, path, kind, body, read)
}

func (c *Client) do(ctx context.Context, method, path, kind string, body io.Reader, read func(io.Reader) error) error {
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, body)
	if err != nil {
		return err
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if id, ok := ctx.Value(requestID{}).(string); ok && method == http.MethodPost {
		r.Header.Set("X-Request-Id", id)
	}
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	h := c.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	answer, err := h.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		if v := answer.Header.Get("Metaprune-Repair"); v != "" && c.Repaired != nil {
			c.Repaired(v)
		}
		for _, w := range answer.Header.Values("Metaprune-Warning") {
			if c.Warning != nil {
				c.Warning(w)
			}
		}
		return read(answer.Body)
	}
	p := &api.Problem{Status: answer.StatusCode, Detail: answer.Status}
	if answer.Header.Get("Content-Type") == "application/problem+json" {
		if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(p); err != nil {
			return fmt.Errorf("%s: %w", answer.Status, err)
		}
	}
	return p
}
