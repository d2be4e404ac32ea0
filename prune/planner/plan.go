package planner

import (
	"encoding/json"
	"fmt"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
)

// Plan says what leaves a model. It is complete: applied to the same model it always gives the same bytes.
type Plan struct {
	Format      string             `json:"format"`
	Version     int                `json:"version"`
	ModelSHA256 string             `json:"model_sha256"`
	DataSHA256  string             `json:"data_sha256,omitempty" since:"3"` // of the elements in external data
	Criterion   string             `json:"criterion"`
	Reduction   string             `json:"reduction,omitempty"`
	Normalizer  string             `json:"normalizer,omitempty"`
	Ranking     string             `json:"ranking,omitempty"`
	Attention   coupling.Kind      `json:"attention,omitempty"`
	Allocation  map[string]float64 `json:"allocation,omitempty"` // offsets of the groups' scores
	Seed        int64              `json:"seed"`
	Repair      string             `json:"repair"`             // "none", or what the repair looked at: "noise", "data"
	Repaired    *RepairedFile      `json:"repaired,omitempty"` // tensors that the repair changed
	Weights     string             `json:"weights"`
	Metanet     string             `json:"metanet_sha256,omitempty"`
	Target      Target             `json:"target"`
	CountedAt   *coupling.Counted  `json:"counted_at,omitempty" since:"2"` // sizes of the inputs that the model leaves free
	Achieved    Achieved           `json:"achieved"`
	Removed     []coupling.Removal `json:"removed"`
	Groups      []PlanGroup        `json:"groups"`
	Zeroed      []Zeroed           `json:"zeroed,omitempty"`
	Warnings    []Warning          `json:"warnings,omitempty" since:"2"` // for people: what to expect of the model; written anew with every plan, and not read

	repaired map[string]Numbers
}

// RepairedFile names the safetensors file of the repaired tensors, which lies beside the plan.
type RepairedFile struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// Numbers are the elements of a repaired tensor, which are decoded when they are needed: what a file holds is expanded tensor by tensor, and only where the model has room for it.
type Numbers interface {
	Len() int
	Floats() ([]float32, error)
}

// Attach gives the plan the tensors of its repaired file, by name; sha256 is the hash of that file. A file that the plan does not name is refused before load is called.
func (p *Plan) Attach(sha256 string, load func() (map[string]Numbers, error)) error {
	if p.Repaired == nil {
		return &PlanError{"a file of repaired tensors was given, but the plan names none"}
	}
	if p.Repaired.SHA256 != sha256 {
		return &PlanError{fmt.Sprintf("the file of repaired tensors has SHA-256 %.12s…, which is not the hash in the plan", sha256)}
	}
	tensors, err := load()
	if err == nil {
		p.repaired = tensors
	}
	return err
}

// Cut is the plan without its repair.
func (p *Plan) Cut() *Plan {
	q := *p
	q.Repair, q.Repaired, q.repaired = "none", nil, nil
	return &q
}

// Achieved are costs before and after.
type Achieved struct {
	MACs    [2]int64 `json:"macs"`
	Seen    [2]int64 `json:"seen_macs,omitzero"`                    // at static shapes, as ONNX's shape inference sees them; where that is another ratio
	Ignored bool     `json:"seen_macs_ignored,omitempty" since:"3"` // the speed-up did not have to hold at static shapes, where less than half of the work is visible
	Params  [2]int64 `json:"params"`
	Bytes   [2]int64 `json:"bytes"`
}

// PlanGroup is what leaves one group, for people.
type PlanGroup struct {
	ID      string `json:"id,omitempty" since:"2"`
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

// MarshalPlan is the plan as it is written to disk.
func MarshalPlan(p *Plan) ([]byte, error) {
	q := *p
	if q.Warnings = nil; p.Version >= 2 {
		q.Warnings = p.NewWarnings()
	}
	b, err := json.MarshalIndent(&q, "", " ")
	return append(b, '\n'), err
}

// Check compares the plan with the model that it is to be applied to.
func (p *Plan) Check(modelSHA256 string) error {
	if p.ModelSHA256 != modelSHA256 {
		return &PlanError{fmt.Sprintf("it was made for another model (SHA-256 %.12s…, this one has %.12s…)", p.ModelSHA256, modelSHA256)}
	}
	return nil
}

// CheckData compares the plan with the external data of the model that it is to be applied to. Plans
// before version 3 say nothing of it.
func (p *Plan) CheckData(dataSHA256 string) error {
	if p.DataSHA256 == "" || p.DataSHA256 == dataSHA256 {
		return nil
	}
	got := "cannot be read"
	if dataSHA256 != "" {
		got = fmt.Sprintf("has SHA-256 %.12s…", dataSHA256)
	}
	return &PlanError{fmt.Sprintf("it was made for the same model file with other external data (SHA-256 %.12s…): the data beside this model %s; give the data file that the plan was made with, or make a new plan", p.DataSHA256, got)}
}

// attached refuses a plan with a repair whose tensors are not there.
func (p *Plan) attached() error {
	switch {
	case (p.Repair == "none" || p.Repair == "") && p.Repaired == nil:
		return nil
	case p.Repaired == nil:
		return &PlanError{fmt.Sprintf("its repair (%q) names no file of repaired tensors", p.Repair)}
	case p.repaired == nil:
		return &PlanError{fmt.Sprintf("it needs the file of repaired tensors %q, which is written beside the plan", p.Repaired.File)}
	}
	return nil
}

// Units returns the units that the plan removes; a PlanError names what does not fit.
func (p *Plan) Units(a *coupling.Analysis) ([]coupling.UnitID, error) {
	us, err := a.UnitsOf(p.Removed)
	if err != nil {
		return nil, &PlanError{err.Error()}
	}
	return us, nil
}

// Apply returns the model that the plan describes; the analysed model is not changed.
func Apply(a *coupling.Analysis, p *Plan) (*onnxio.Model, error) {
	if err := p.attached(); err != nil {
		return nil, err
	}
	m, err := apply(a, p)
	if err != nil || len(p.repaired) == 0 {
		return m, err
	}
	return restore(m, p.repaired)
}

func apply(a *coupling.Analysis, p *Plan) (*onnxio.Model, error) {
	us, err := p.Units(a)
	if err != nil {
		return nil, err
	}
	state := a.NewState()
	for _, u := range us {
		if !state.CanRemove(u) {
			return nil, &PlanError{fmt.Sprintf("it would remove every channel of an axis of group %s", a.Groups[a.GroupOf(u)].Name)}
		}
		state.Remove(u)
	}
	if len(p.Zeroed) > 0 {
		if len(us) > 0 {
			return nil, &PlanError{"removing and zeroing in one plan is not supported"}
		}
		return zero(a.Source(), p.Zeroed)
	}
	return a.Shrink(state)
}

// record fills in what the state removes.
func (p *Plan) record(a *coupling.Analysis, state *coupling.State) {
	start := a.NewState()
	p.CountedAt = a.CountedAt()
	p.Achieved = Achieved{MACs: [2]int64{start.MACs(), state.MACs()}, Params: [2]int64{start.Params(), state.Params()},
		Bytes: [2]int64{start.Bytes(), state.Bytes()}}
	if before, after := start.VisibleMACs(), state.VisibleMACs(); before*state.MACs() != after*start.MACs() {
		p.Achieved.Seen = [2]int64{before, after}
		p.Achieved.Ignored = p.Target.SpeedUp != 0 && !p.Target.Computed && !start.StaticCounts()
	}
	p.Removed = a.Removals(state.Units())
	if p.Removed == nil {
		p.Removed = []coupling.Removal{}
	}
	p.Groups = []PlanGroup{}
	for i := range a.Groups {
		g := &a.Groups[i]
		if g.Frozen != "" {
			continue
		}
		pg := PlanGroup{ID: g.ID, Name: g.Name, Size: len(g.Units), Removed: []int{}}
		for k, u := range g.Units {
			if state.Removed(u) {
				pg.Removed = append(pg.Removed, k)
			}
		}
		p.Groups = append(p.Groups, pg)
	}
}
