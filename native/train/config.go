package train

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
)

// Schedules of the learning rate.
const (
	Cosine   = "cosine"   // to zero along half a cosine
	OneCycle = "onecycle" // arXiv 1708.07120 as PyTorch has it: up over 30 % of the steps, then down to almost zero
	StepWise = "step"     // times Gamma at each milestone
	Constant = "constant"
)

// Config is everything that a run's numbers depend on, besides model, data and version.
type Config struct {
	ModelSHA256 string           `json:"model_sha256"`
	Data        string           `json:"data"`
	Backend     string           `json:"backend"`
	Epochs      int              `json:"epochs"`
	Batch       int              `json:"batch"`
	Rate        float64          `json:"learning_rate"`
	Schedule    string           `json:"schedule"`
	Warmup      float64          `json:"warmup_epochs"`
	Milestones  []int            `json:"milestones,omitempty"` // epochs, for StepWise
	Gamma       float64          `json:"gamma,omitempty"`
	Validation  float64          `json:"validation"` // share of the training images
	Limit       int              `json:"limit,omitempty"`
	Seed        uint64           `json:"seed"`
	Teacher     string           `json:"teacher_sha256,omitempty"`
	Augment     data.Augment     `json:"augment"`
	Options     xla.TrainOptions `json:"optimizer"`
	Version     string           `json:"version"`
}

// Check reports settings that make no sense.
func (c *Config) Check() error {
	switch {
	case c.Epochs < 0 || c.Batch < 1:
		return fmt.Errorf("%d epochs in batches of %d: want at least 0 and 1", c.Epochs, c.Batch)
	case c.Rate <= 0 || math.IsNaN(c.Rate):
		return fmt.Errorf("a learning rate of %g: want a number above 0", c.Rate)
	case c.Validation < 0 || c.Validation >= 1:
		return fmt.Errorf("a validation share of %g: want 0 to less than 1", c.Validation)
	case c.Options.LabelSmoothing < 0 || c.Options.LabelSmoothing >= 1:
		return fmt.Errorf("a label smoothing of %g: want 0 to less than 1", c.Options.LabelSmoothing)
	case c.Options.Distil < 0 || c.Options.Distil > 1:
		return fmt.Errorf("a distillation weight of %g: want 0 to 1", c.Options.Distil)
	}
	return planner.OneOf("schedule", c.Schedule, Cosine, OneCycle, StepWise, Constant)
}

// rate is the learning rate of step k of total, with perEpoch steps an epoch.
func (c *Config) rate(k, total, perEpoch int) float64 {
	t := float64(k) / math.Max(float64(total), 1)
	if c.Schedule == OneCycle {
		return c.oneCycle(float64(k), float64(total))
	}
	if w := c.Warmup * float64(perEpoch); float64(k) < w {
		return c.Rate * float64(k+1) / w
	}
	switch c.Schedule {
	case Cosine:
		return c.Rate * (1 + math.Cos(math.Pi*t)) / 2
	case StepWise:
		r := c.Rate
		for _, m := range c.Milestones {
			if k >= m*perEpoch {
				r *= c.Gamma
			}
		}
		return r
	}
	return c.Rate
}

// oneCycle starts at a 25th of the rate and ends at a 10,000th of that.
func (c *Config) oneCycle(k, total float64) float64 {
	from, to := c.Rate/25, c.Rate/25/1e4
	between := func(a, b, share float64) float64 { return b + (a-b)/2*(1+math.Cos(math.Pi*share)) }
	up := .3*total - 1
	if k <= up {
		return between(from, c.Rate, k/up)
	}
	return between(c.Rate, to, (k-up)/(total-1-up))
}

// ReadRecord reads the options of an earlier run, which path holds. A field that is not known is an error: the run went by it.
func ReadRecord(raw []byte, path string, v any) error {
	if err := planner.Strict(raw, v); err != nil {
		return fmt.Errorf("%s was not written by this version of metaprune: %w; continue with the version that wrote it, or choose another folder", path, err)
	}
	return nil
}

// Differences names the fields in which two configurations differ, as JSON has them; the field version does not count.
func Differences(a, b any) string {
	var x, y map[string]any
	for _, p := range []struct {
		c any
		m *map[string]any
	}{{a, &x}, {b, &y}} {
		raw, err := json.Marshal(p.c)
		if err == nil {
			err = json.Unmarshal(raw, p.m)
		}
		if err != nil {
			return fmt.Sprintf("the options cannot be compared (%v)", err)
		}
	}
	out := differences("", x, y)
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// differences goes down into objects; prefix says where it is.
func differences(prefix string, x, y map[string]any) []string {
	var out []string
	for k := range x {
		was, inX := x[k].(map[string]any)
		is, inY := y[k].(map[string]any)
		switch {
		case k == "version" || reflect.DeepEqual(x[k], y[k]):
		case inX && inY:
			out = append(out, differences(prefix+k+".", was, is)...)
		default:
			out = append(out, fmt.Sprintf("%s%s was %v, is %v", prefix, k, x[k], y[k]))
		}
	}
	for k := range y {
		if _, ok := x[k]; !ok {
			out = append(out, fmt.Sprintf("%s%s is %v", prefix, k, y[k]))
		}
	}
	return out
}
