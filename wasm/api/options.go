package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/options"
	"github.com/metaprune/metaprune/prune/planner"
)

// job is what a request asks for.
type job struct {
	prune.Request
	weights string
	share   float64             // of the file's size, where the target size is one
	given   map[string][]string // options by name, as they were sent
	inputs  []string            // sizes that work is counted at
	repair  string              // none, noise or data; empty where it is not said
}

func newJob() *job {
	return &job{weights: "original", Request: prune.Request{Sparsity: .5}, given: map[string][]string{}}
}

// wrong is a value that an option does not take.
func wrong(v, want string) error { return &planner.OptionError{Want: want, Got: v} }

// factor takes a number of times from 1 on, such as 2 or 2x.
func factor(at func(*job) *float64) func(*job, string) error {
	return func(j *job, v string) error {
		x, err := planner.ParseFactor(v)
		if err != nil || x < 1 {
			return wrong(v, "a number such as 2 or 2x, at least 1")
		}
		*at(j) = x
		return nil
	}
}

// share takes a share above 0, such as 0.3 or 30%.
func share(at func(*job) *float64, most float64) func(*job, string) error {
	return func(j *job, v string) error {
		x, err := planner.ParseShare(v)
		if err != nil || !(x > 0) || x > most {
			return wrong(v, "a share such as 0.3 or 30%, above 0 and at most 1")
		}
		*at(j) = x
		return nil
	}
}

func count(at func(*job) *int) func(*job, string) error {
	return func(j *job, v string) error {
		x, err := strconv.Atoi(v)
		if err != nil || x < 1 || x > 1<<20 {
			return wrong(v, "a whole number from 1 to 1048576")
		}
		*at(j) = x
		return nil
	}
}

func text(at func(*job) *string) func(*job, string) error {
	return func(j *job, v string) error {
		*at(j) = v
		return nil
	}
}

func size(j *job, v string) error {
	if strings.HasSuffix(v, "%") {
		x, err := planner.ParseShare(v)
		if err != nil || !(x > 0) || x > 1 {
			return wrong(v, "a size such as 10MB, or a share of the file such as 50%")
		}
		j.share = x
		return nil
	}
	n, err := humanize.ParseBytes(v)
	if err != nil || n == 0 || n > 1<<62 {
		return wrong(v, "a size such as 10MB, or a share of the file such as 50%")
	}
	j.Target.Bytes = int64(n)
	return nil
}

func inputSize(j *job, v string) error {
	all := append(j.inputs, v)
	if _, err := coupling.ParseSizes(all); err != nil {
		return err
	}
	j.inputs = all
	return nil
}

// countAt sets the sizes of inputs that work is counted at.
func (j *job) countAt(s *prune.Model) error {
	sizes, err := coupling.ParseSizes(j.inputs)
	if err != nil || sizes == nil {
		return err
	}
	if err := s.CountAt(sizes); err != nil {
		return badOption("query input", err)
	}
	return nil
}

func truth(at func(*job) *bool) func(*job, string) error {
	return func(j *job, v string) error {
		if v != "true" && v != "false" {
			return wrong(v, "true or false")
		}
		*at(j) = v == "true"
		return nil
	}
}

func seed(j *job, v string) error {
	x, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return wrong(v, "a whole number")
	}
	j.Criterion.Seed = x
	return nil
}

// read sets option o to v.
func (j *job) read(o *options.Option, v string) error {
	sampled := slices.Contains(o.Local, v) && prune.LooksAtSamples(v)
	if len(o.Enum) > 0 && !slices.Contains(o.Enum, v) && !sampled {
		return planner.OneOf("", v, o.Enum...)
	}
	return setters[o.Name](j, v)
}

// setters read the value of each option of the table.
var setters = map[string]func(j *job, v string) error{
	"speed-up":       factor(func(j *job) *float64 { return &j.Target.SpeedUp }),
	"count-computed": truth(func(j *job) *bool { return &j.Target.Computed }),
	"input":          inputSize,
	"params":         share(func(j *job) *float64 { return &j.Target.Params }, 1),
	"size":           size,
	"ratio":          share(func(j *job) *float64 { return &j.Target.Ratio }, 1),
	"criterion":      text(func(j *job) *string { return &j.Criterion.Kind }),
	"weights":        text(func(j *job) *string { return &j.weights }),
	"reduction":      text(func(j *job) *string { return &j.Criterion.Reduction }),
	"normalizer":     text(func(j *job) *string { return &j.Criterion.Normalizer }),
	"ranking":        text(func(j *job) *string { return &j.Ranking }),
	"attention":      text(func(j *job) *string { return (*string)(&j.Attention) }),
	"pattern":        text(func(j *job) *string { return &j.Pattern }),
	"sparsity":       share(func(j *job) *float64 { return &j.Sparsity }, 1),
	"steps":          count(func(j *job) *int { return &j.Steps }),
	"round-to":       count(func(j *job) *int { return &j.RoundTo }),
	"max-ratio":      share(func(j *job) *float64 { return &j.MaxRatio }, 1),
	"ignore":         func(j *job, v string) error { j.Ignore = append(j.Ignore, v); return nil },
	"seed":           seed,
	"repair":         text(func(j *job) *string { return &j.repair }),
}

// parse reads options from query parameters or form fields; place is "query" or "field".
func (j *job) parse(values url.Values, place string) error {
	for _, key := range sortedKeys(values) {
		name := strings.ReplaceAll(key, "_", "-")
		o := options.Named(name)
		if o == nil {
			return unknownOption(place+" "+key, name)
		}
		if n := len(j.given[name]) + len(values[key]); n > 1 && o.Kind != options.Strings {
			return problem(http.StatusBadRequest, place+" "+key, "it is given %d times; want it once", n)
		}
		for _, v := range values[key] {
			if err := j.read(o, v); err != nil {
				return badOption(place+" "+key, err)
			}
		}
		j.given[name] = append(j.given[name], values[key]...)
	}
	return nil
}

// unknownOption names the option that was probably meant.
func unknownOption(place, name string) *Problem {
	near := ""
	if n := planner.Nearest(name, options.Names()); n != "" {
		near = "; did you mean " + n
	}
	p := problem(http.StatusBadRequest, place, "no such option%s; the options are %s", near, strings.Join(options.Names(), ", "))
	p.Want, p.Got = "an option", name
	return p
}

// badOption says what an option takes.
func badOption(place string, err error) *Problem {
	var size *coupling.SizeError
	if errors.As(err, &size) {
		p := problem(http.StatusBadRequest, place, "%v", err)
		p.Want, p.Got = size.Want, size.Got
		return p
	}
	var o *planner.OptionError
	if !errors.As(err, &o) {
		return problem(http.StatusBadRequest, place, "%v", err)
	}
	near := ""
	if o.Near != "" {
		near = "; did you mean " + o.Near + "?"
	}
	p := problem(http.StatusBadRequest, place, "%q: want %s%s", o.Got, o.Want, near)
	p.Want, p.Got = o.Want, o.Got
	return p
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
		return problem(http.StatusBadRequest, "query count-computed", "applies only to a speed-up")
	case j.weights == "metanet" && j.Criterion.Kind != "metanet":
		return problem(http.StatusBadRequest, "query weights", "weights metanet wants criterion metanet")
	case t.SpeedUp != 0 && t.SpeedUp < 1, t.Params > 1, t.Ratio >= 1, j.MaxRatio > 1, j.Sparsity > 1:
		return problem(http.StatusBadRequest, "query", "speed-up is a number from 1 on; params, max-ratio and sparsity are shares up to 1, ratio below 1")
	}
	return nil
}

// key tells the request apart from others about the same model: every option that was given, in quotes, so that no text can be taken for two.
func (j *job) key() string { return fmt.Sprintf("%q", j.given) }

func sortedKeys(v url.Values) []string {
	var out []string
	for k := range v {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
