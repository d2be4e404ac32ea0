package metatrain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/allocate"
	"github.com/metaprune/metaprune/prune/planner"
)

// What the file of a search says that it is. The version counts up when fields are added or change their meaning.
const (
	AllocationFormat  = "metaprune-allocation"
	AllocationVersion = 1
)

// Allocation is the file of a search for what each group of a model may lose (prune/allocate).
type Allocation struct {
	Format      string            `json:"format"` // AllocationFormat
	Version     int               `json:"version"`
	ModelSHA256 string            `json:"model_sha256"`
	Options     AllocationOptions `json:"options"`
	Result      allocate.Result   `json:"result"`
	Seconds     float64           `json:"seconds"`
}

// AllocationOptions are everything that the result depends on besides the model.
type AllocationOptions struct {
	SpeedUps  []float64 `json:"speed_ups"`
	Rounds    int       `json:"rounds"`
	Step      float64   `json:"step"`
	Seed      uint64    `json:"seed"`
	Criterion string    `json:"criterion"`
	Samples   int       `json:"samples"`
	Judge     int       `json:"judge"`
	Data      string    `json:"data"`
	Backend   string    `json:"backend"`
}

// AllocationPath is where the allocation of a model lies.
func AllocationPath(model string) string {
	return strings.TrimSuffix(model, ".onnx") + ".allocation.json"
}

// ReadAllocation reads the file of a search.
func ReadAllocation(path string) (*Allocation, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := parseAllocation(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func parseAllocation(raw []byte) (*Allocation, error) {
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, err
	}
	switch {
	case head.Format != AllocationFormat || head.Version < 1:
		return nil, fmt.Errorf("not an allocation (format %q, version %d); `metaprune allocate` makes one", head.Format, head.Version)
	case head.Version > AllocationVersion:
		return nil, fmt.Errorf("made by a newer metaprune (allocation version %d); this program reads version %d: update it", head.Version, AllocationVersion)
	}
	r := &Allocation{}
	if err := planner.Strict(raw, r); err != nil {
		return nil, fmt.Errorf("%w; allocation version %d has no such field or value", err, head.Version)
	}
	if len(r.Result.Offsets) == 0 {
		return nil, errors.New("it has no offsets; `metaprune allocate` makes an allocation with some")
	}
	return r, nil
}

// Teach gives the data model the scores that a search has found for its units.
func (d *DataModel) Teach(r *allocate.Result) error {
	d.wanted = make([]float64, d.analysis.NumUnits())
	for i := range d.wanted {
		d.wanted[i] = math.NaN()
	}
	found := 0
	for i := range d.analysis.Groups {
		g := &d.analysis.Groups[i]
		scores, ok := coupling.Of(r.Scores, g)
		if g.Frozen != "" || !ok || len(scores) != len(g.Units) {
			continue
		}
		found++
		offset, _ := coupling.Of(r.Offsets, g)
		for k, u := range g.Units {
			if scores[k] > 0 {
				d.wanted[u] = math.Log(scores[k]) + offset
			}
		}
	}
	if found != len(r.Scores) {
		return fmt.Errorf("data model %s: the allocation has %d groups, %d of them in the model; search it again with `metaprune allocate`", d.Name, len(r.Scores), found)
	}
	return nil
}

// taught is the step's gradient by theta where the metanetwork learns what a search has found: of the mean squared difference between the logarithms of its scores and the wanted ones, as a share of how much the wanted ones
// differ, so that 1 is what scores without any differences have. Both are compared up to a constant: of the whole model for the objective allocation, of each group for the order. A group counts as much as another, however many
// units it has.
func (t *Trainer) taught(_ context.Context, d *DataModel, theta map[*op.Constant]*onnxio.Tensor, _ *data.Set, r *Report) (map[*op.Constant][]float32, error) {
	if d.wanted == nil {
		return nil, fmt.Errorf("it has no allocation; search one with `metaprune allocate`")
	}
	c := scoring(theta)
	scores, err := planner.Score(d.analysis, nil, c)
	if err != nil {
		return nil, err
	}
	sets := d.learnable(scores)
	if t.Config.Objective == Allocate {
		var all []coupling.UnitID
		var shares []float64
		for _, s := range sets {
			all = append(all, s.units...)
			for _, x := range s.shares {
				shares = append(shares, x/float64(len(sets)))
			}
		}
		sets = []set{{all, shares}}
	}
	by, found := make([]float64, len(scores)), 0
	for _, s := range sets {
		loss, ok := s.compare(scores, d.wanted, by, 1/float64(len(sets)))
		if ok {
			r.Loss, found = r.Loss+loss, found+1
		}
	}
	if found == 0 {
		return nil, fmt.Errorf("its allocation makes no difference between its units")
	}
	g, err := planner.ScoreGradient(d.analysis, c, by)
	if err != nil {
		return nil, err
	}
	r.Norm = norm(g)
	return g, nil
}

// set are units that are compared with each other, with shares that add up to 1.
type set struct {
	units  []coupling.UnitID
	shares []float64
}

// compare returns the set's loss times weight, and adds its derivative by the logarithms of the scores to by; false where the wanted ones do not differ.
func (s set) compare(scores planner.Scores, wanted, by []float64, weight float64) (float64, bool) {
	mean, middle, square := 0.0, 0.0, 0.0
	for k, u := range s.units {
		mean += s.shares[k] * (math.Log(scores[u]) - wanted[u])
		middle += s.shares[k] * wanted[u]
		square += s.shares[k] * wanted[u] * wanted[u]
	}
	variance := square - middle*middle
	if !(variance > 1e-12) {
		return 0, false
	}
	loss := 0.0
	for k, u := range s.units {
		x := math.Log(scores[u]) - wanted[u] - mean
		loss += weight * s.shares[k] * x * x / variance
		by[u] += 2 * weight * s.shares[k] * x / variance
	}
	return loss, true
}

// learnable lists, by group, the units that have a score and a wanted one.
func (d *DataModel) learnable(scores planner.Scores) []set {
	var out []set
	for i := range d.analysis.Groups {
		var s set
		for _, u := range d.analysis.Groups[i].Units {
			if scores[u] > 0 && !math.IsNaN(d.wanted[u]) {
				s.units = append(s.units, u)
			}
		}
		for range s.units {
			s.shares = append(s.shares, 1/float64(len(s.units)))
		}
		if len(s.units) > 0 {
			out = append(out, s)
		}
	}
	return out
}
