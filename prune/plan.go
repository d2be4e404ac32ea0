package prune

import (
	"encoding/json"
	"fmt"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/onnxio"
)

// PlanVersion is the version of the plan format that this package writes.
const PlanVersion = 1

// Plan says what leaves a model. It is complete: applied to the same model it always gives the same bytes.
type Plan struct {
	Format      string               `json:"format"`
	Version     int                  `json:"version"`
	ModelSHA256 string               `json:"model_sha256"`
	Criterion   string               `json:"criterion"`
	Reduction   string               `json:"reduction,omitempty"`
	Normalizer  string               `json:"normalizer,omitempty"`
	Ranking     string               `json:"ranking,omitempty"`
	Seed        int64                `json:"seed"`
	Repair      string               `json:"repair"`
	Weights     string               `json:"weights"`
	Metanet     string               `json:"metanet_sha256,omitempty"`
	Target      Target               `json:"target"`
	Achieved    Achieved             `json:"achieved"`
	Removed     []graphcodec.Removal `json:"removed"`
	Groups      []PlanGroup          `json:"groups"`
	Zeroed      []Zeroed             `json:"zeroed,omitempty"`
}

// Achieved are costs before and after.
type Achieved struct {
	MACs   [2]int64 `json:"macs"`
	Params [2]int64 `json:"params"`
	Bytes  [2]int64 `json:"bytes"`
}

// PlanGroup is what leaves one group, for people.
type PlanGroup struct {
	Name    string `json:"name"`
	Size    int    `json:"size"`
	Removed []int  `json:"removed"`
}

// Zeroed are the elements of one tensor that become zero.
type Zeroed struct {
	Tensor  string `json:"tensor"`
	Pattern string `json:"pattern"`         // "2:4" or the like along Axis, or "unstructured"
	Axis    int    `json:"axis"`            // of N:M
	Count   int64  `json:"count,omitempty"` // unstructured: this many smallest magnitudes, the first of equal ones
}

// PlanError reports a plan that does not fit.
type PlanError struct{ What string }

func (e *PlanError) Error() string { return "plan: " + e.What }

// ParsePlan reads a plan and checks its format and version.
func ParsePlan(data []byte) (*Plan, error) {
	var p Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, &PlanError{fmt.Sprintf("not readable as JSON: %v", err)}
	}
	if p.Format != "metaprune-plan" {
		return nil, &PlanError{fmt.Sprintf("format is %q, want \"metaprune-plan\"", p.Format)}
	}
	if p.Version != PlanVersion {
		return nil, &PlanError{fmt.Sprintf("version %d, this program reads version %d", p.Version, PlanVersion)}
	}
	if len(p.ModelSHA256) != 64 {
		return nil, &PlanError{"model_sha256 is missing or no SHA-256"}
	}
	return &p, nil
}

// Check compares the plan with the model that it is to be applied to.
func (p *Plan) Check(modelSHA256 string) error {
	if p.ModelSHA256 != modelSHA256 {
		return &PlanError{fmt.Sprintf("it was made for another model (SHA-256 %.12s…, this one has %.12s…)", p.ModelSHA256, modelSHA256)}
	}
	if p.Repair != "none" && p.Repair != "" {
		return &PlanError{fmt.Sprintf("it contains repaired tensors (%q), whose file is missing", p.Repair)}
	}
	return nil
}

// Units returns the units that the plan removes; a PlanError names what does not fit.
func (p *Plan) Units(a *graphcodec.Analysis) ([]graphcodec.UnitID, error) {
	us, err := a.UnitsOf(p.Removed)
	if err != nil {
		return nil, &PlanError{err.Error()}
	}
	return us, nil
}

// Apply returns the model that the plan describes; the analysed model is not changed.
func Apply(a *graphcodec.Analysis, p *Plan) (*onnxio.Model, error) {
	us, err := p.Units(a)
	if err != nil {
		return nil, err
	}
	state := a.NewState()
	for _, u := range us {
		if !state.CanRemove(u) {
			return nil, &PlanError{fmt.Sprintf("it would leave nothing of an axis of group %s", a.Groups[a.GroupOf(u)].Name)}
		}
		state.Remove(u)
	}
	if len(p.Zeroed) > 0 {
		if len(us) > 0 {
			return nil, &PlanError{"removing and zeroing in one plan is not supported"}
		}
		return zero(a.Model, p.Zeroed)
	}
	return a.Shrink(state)
}

// record fills in what the state removes.
func (p *Plan) record(a *graphcodec.Analysis, state *graphcodec.State) {
	start := a.NewState()
	p.Achieved = Achieved{MACs: [2]int64{start.MACs(), state.MACs()}, Params: [2]int64{start.Params(), state.Params()},
		Bytes: [2]int64{start.Bytes(), state.Bytes()}}
	p.Removed = a.Removals(state.Units())
	if p.Removed == nil {
		p.Removed = []graphcodec.Removal{}
	}
	p.Groups = []PlanGroup{}
	for i := range a.Groups {
		g := &a.Groups[i]
		if g.Frozen != "" {
			continue
		}
		pg := PlanGroup{Name: g.Name, Size: len(g.Units), Removed: []int{}}
		for k, u := range g.Units {
			if state.Removed(u) {
				pg.Removed = append(pg.Removed, k)
			}
		}
		p.Groups = append(p.Groups, pg)
	}
}
