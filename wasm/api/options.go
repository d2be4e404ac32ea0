package api

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/metaprune/metaprune/prune/session"
)

// option is one of a request's options; its name is the command line's.
type option struct {
	name, kind string // kind: number, integer, boolean, string, strings
	enum       []string
	def        any
	doc        string
	set        func(j *job, v string) error
}

// job is what a request asks for.
type job struct {
	session.Request
	weights string
	given   map[string][]string // options by name, as they were sent
}

func newJob() *job {
	return &job{weights: "original", Request: session.Request{Sparsity: .5}, given: map[string][]string{}}
}

func number(at func(*job) *float64) func(*job, string) error {
	return func(j *job, v string) error {
		x, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) || x <= 0 {
			return fmt.Errorf("%q: want a number above 0", v)
		}
		*at(j) = x
		return nil
	}
}

func count(at func(*job) *int) func(*job, string) error {
	return func(j *job, v string) error {
		x, err := strconv.Atoi(v)
		if err != nil || x < 1 || x > 1<<20 {
			return fmt.Errorf("%q: want a whole number from 1 to %d", v, 1<<20)
		}
		*at(j) = x
		return nil
	}
}

func text(at func(*job) *string, allowed ...string) func(*job, string) error {
	return func(j *job, v string) error {
		if len(allowed) > 0 && !slices.Contains(allowed, v) {
			return fmt.Errorf("%q: want one of %s", v, strings.Join(allowed, ", "))
		}
		*at(j) = v
		return nil
	}
}

func size(j *job, v string) error {
	n, err := humanize.ParseBytes(v)
	if err != nil || n == 0 || n > 1<<62 {
		return fmt.Errorf("%q: want a size such as 10MB", v)
	}
	j.Target.Bytes = int64(n)
	return nil
}

func truth(at func(*job) *bool) func(*job, string) error {
	return func(j *job, v string) error {
		if v != "true" && v != "false" {
			return fmt.Errorf("%q: want true or false", v)
		}
		*at(j) = v == "true"
		return nil
	}
}

func seed(j *job, v string) error {
	x, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return fmt.Errorf("%q: want a whole number", v)
	}
	j.Criterion.Seed = x
	return nil
}

func choice(name string, at func(*job) *string, def any, doc string, allowed ...string) option {
	return option{name: name, kind: "string", enum: allowed, def: def, doc: doc, set: text(at, allowed...)}
}

// options lists what /v1/masks and /v1/prune understand.
var options = []option{
	{name: "speed-up", kind: "number", doc: "target: multiply-accumulates before / after", set: number(func(j *job) *float64 { return &j.Target.SpeedUp })},
	{name: "count-computed", kind: "boolean", def: false, doc: "of speed-up: count what is computed alone, not also as a reader of the file does who cannot tell the shapes that the model computes", set: truth(func(j *job) *bool { return &j.Target.Computed })},
	{name: "params", kind: "number", doc: "target: share of the parameters that may stay", set: number(func(j *job) *float64 { return &j.Target.Params })},
	{name: "size", kind: "string", doc: "target: size of the smaller model, such as 10MB", set: size},
	{name: "ratio", kind: "number", doc: "target: share of the prunable channels that leave", set: number(func(j *job) *float64 { return &j.Target.Ratio })},
	choice("criterion", func(j *job) *string { return &j.Criterion.Kind }, "l2", "importance", "l2", "l1", "bn", "fpgm", "random", "metanet"),
	choice("weights", func(j *job) *string { return &j.weights }, "original", "of criterion metanet: keep the original weights, or take the metanetwork's", "original", "metanet"),
	choice("reduction", func(j *job) *string { return &j.Criterion.Reduction }, "mean", "over a group's members", "mean", "sum", "max", "first"),
	choice("normalizer", func(j *job) *string { return &j.Criterion.Normalizer }, nil, "within a group; by default what the metanetwork was trained for, else mean", "mean", "max", "none", "lamp", "original", "order"),
	choice("ranking", func(j *job) *string { return &j.Ranking }, "global", "who competes", "global", "group", "isomorphic"),
	choice("attention", func(j *job) *string { return (*string)(&j.Attention) }, nil, "of attention, only whole heads or only channels of heads leave", "heads", "head-dim"),
	{name: "pattern", kind: "string", def: "channels", doc: "what leaves: channels, N:M (zeros) or unstructured (zeros)", set: text(func(j *job) *string { return &j.Pattern })},
	{name: "sparsity", kind: "number", def: .5, doc: "share of zeros for pattern unstructured", set: number(func(j *job) *float64 { return &j.Sparsity })},
	{name: "steps", kind: "integer", def: 1, doc: "importance is recomputed after each step", set: count(func(j *job) *int { return &j.Steps })},
	{name: "round-to", kind: "integer", def: 1, doc: "groups keep a multiple of this many channels", set: count(func(j *job) *int { return &j.RoundTo })},
	{name: "max-ratio", kind: "number", doc: "at most this share of a group leaves", set: number(func(j *job) *float64 { return &j.MaxRatio })},
	{name: "ignore", kind: "strings", doc: "groups to keep whole, by node path, tensor, ID or name (glob); may be repeated", set: func(j *job, v string) error { j.Ignore = append(j.Ignore, v); return nil }},
	{name: "seed", kind: "integer", def: 0, doc: "seed of criterion random", set: seed},
}

// parse reads options from query parameters or form fields; place is "query" or "field".
func (j *job) parse(values url.Values, place string) error {
	for _, key := range sortedKeys(values) {
		name := strings.ReplaceAll(key, "_", "-")
		i := slices.IndexFunc(options, func(o option) bool { return o.name == name })
		if i < 0 {
			return problem(http.StatusBadRequest, place+" "+key, "there is no such option; the options are %s", strings.Join(optionNames(), ", "))
		}
		if n := len(j.given[name]) + len(values[key]); n > 1 && options[i].kind != "strings" {
			return problem(http.StatusBadRequest, place+" "+key, "it is given %d times; want it once", n)
		}
		for _, v := range values[key] {
			if err := options[i].set(j, v); err != nil {
				return problem(http.StatusBadRequest, place+" "+key, "%v", err)
			}
		}
		j.given[name] = append(j.given[name], values[key]...)
	}
	return nil
}

// check looks for what the options lack together.
func (j *job) check() error {
	t, n := j.Target, 0
	for _, set := range []bool{t.SpeedUp != 0, t.Params != 0, t.Bytes != 0, t.Ratio != 0} {
		if set {
			n++
		}
	}
	pattern := cmp.Or(j.Pattern, "channels")
	switch {
	case pattern == "channels" && n != 1:
		return problem(http.StatusBadRequest, "query", "%d targets are given; want exactly one of speed-up, params, size and ratio", n)
	case pattern != "channels" && n != 0:
		return problem(http.StatusBadRequest, "query", "pattern %s takes no target", pattern)
	case t.Computed && t.SpeedUp == 0:
		return problem(http.StatusBadRequest, "query count-computed", "it is for a speed-up")
	case j.weights == "metanet" && j.Criterion.Kind != "metanet":
		return problem(http.StatusBadRequest, "query weights", "weights metanet wants criterion metanet")
	case t.SpeedUp != 0 && t.SpeedUp < 1, t.Params > 1, t.Ratio >= 1, j.MaxRatio > 1, j.Sparsity > 1:
		return problem(http.StatusBadRequest, "query", "speed-up is a number from 1 on; params, max-ratio and sparsity are shares up to 1, ratio below 1")
	}
	return nil
}

// key tells the request apart from others about the same model: every option that was given, in quotes, so that no text can be taken for two.
func (j *job) key() string { return fmt.Sprintf("%q", j.given) }

func optionNames() []string {
	var out []string
	for _, o := range options {
		out = append(out, o.name)
	}
	return out
}

func sortedKeys(v url.Values) []string {
	var out []string
	for k := range v {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
