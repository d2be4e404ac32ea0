package metatrain

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/allocate"
)

// Allocation is the file of a search for what each group of a model may lose (prune/allocate).
type Allocation struct {
	Format      string            `json:"format"` // "metaprune-allocation"
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
	r := &Allocation{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Format != "metaprune-allocation" || r.Version != 1 || len(r.Result.Offsets) == 0 {
		return nil, fmt.Errorf("%s is no allocation of version 1; `metaprune allocate` makes one", path)
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
		scores, ok := r.Scores[g.Name]
		if g.Frozen != "" || !ok || len(scores) != len(g.Units) {
			continue
		}
		found++
		for k, u := range g.Units {
			if scores[k] > 0 {
				d.wanted[u] = math.Log(scores[k]) + r.Offsets[g.Name]
			}
		}
	}
	if found != len(r.Scores) {
		return fmt.Errorf("data model %s: the allocation has %d groups, %d of them in the model; search it again with `metaprune allocate`", d.Name, len(r.Scores), found)
	}
	return nil
}

// taught is the step's gradient by theta where the metanetwork learns what a search has found: of the mean squared difference between the logarithms of its scores and those that the model's own weights have with the searched
// offsets, both up to one constant for the model, as a share of how much the wanted ones differ: 1 is what scores without any differences have. A group counts as much as another, however many units it has.
func (t *Trainer) taught(_ context.Context, d *DataModel, theta map[*graphcodec.Constant]*onnxio.Tensor, _ *data.Set, r *Report) (map[*graphcodec.Constant][]float32, error) {
	if d.wanted == nil {
		return nil, fmt.Errorf("it has no allocation; search one with `metaprune allocate`")
	}
	c := scoring(theta)
	scores, err := prune.Score(d.analysis, nil, c)
	if err != nil {
		return nil, err
	}
	difference, share := make([]float64, len(scores)), make([]float64, len(scores))
	mean, wanted, square := 0.0, 0.0, 0.0
	d.learnable(scores, func(u graphcodec.UnitID, part float64) {
		share[u] = part
		difference[u] = math.Log(scores[u]) - d.wanted[u]
		mean += part * difference[u]
		wanted += part * d.wanted[u]
		square += part * d.wanted[u] * d.wanted[u]
	})
	variance := square - wanted*wanted
	if !(variance > 1e-12) {
		return nil, fmt.Errorf("its allocation makes no difference between its units")
	}
	by := make([]float64, len(scores))
	for u, part := range share {
		if part > 0 {
			x := difference[u] - mean
			r.Loss += part * x * x / variance
			by[u] = 2 * part * x / variance
		}
	}
	g, err := prune.ScoreGradient(d.analysis, c, by)
	if err != nil {
		return nil, err
	}
	r.Norm = norm(g)
	return g, nil
}

// learnable visits every unit that has a score and a wanted one, with its share: that of its group among groups, evenly within the group.
func (d *DataModel) learnable(scores prune.Scores, visit func(u graphcodec.UnitID, share float64)) {
	var groups [][]graphcodec.UnitID
	for i := range d.analysis.Groups {
		var own []graphcodec.UnitID
		for _, u := range d.analysis.Groups[i].Units {
			if scores[u] > 0 && !math.IsNaN(d.wanted[u]) {
				own = append(own, u)
			}
		}
		if len(own) > 0 {
			groups = append(groups, own)
		}
	}
	for _, own := range groups {
		for _, u := range own {
			visit(u, 1/float64(len(own)*len(groups)))
		}
	}
}
