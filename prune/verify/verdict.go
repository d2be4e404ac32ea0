package verify

import (
	"fmt"
	"math"
)

// The three verdicts.
const (
	Equal       = "equal"
	Different   = "different"
	NotCompared = "not compared"
)

// What a Verdict says of the planned slices, where it does not say what is wrong.
const (
	Exact      = "exact"
	NotChecked = "not checked"
)

// NoPlan is the reason of a verdict without a plan.
const NoPlan = "there is no plan, which says what is compared"

// Verdict is what [Check] found.
type Verdict struct {
	Verdict  string   `json:"verdict"`          // equal, different or not compared
	Reason   string   `json:"reason,omitempty"` // of the last two
	Readable bool     `json:"readable"`
	Faces    bool     `json:"same_inputs_and_outputs"`
	Slices   string   `json:"slices"` // "exact", "not checked" or what is wrong
	Engine   string   `json:"engine"` // what the outputs were compared in, or why they were not
	Compared bool     `json:"compared"`
	Error    *float64 `json:"max_rel_err"` // null where nothing was compared, and where the difference is no finite number
	Bound    float64  `json:"rtol"`        // largest Error that is equal
	OK       bool     `json:"ok"`          // equal, or not compared where that is allowed
	Failed   []error  `json:"-"`           // of the engines that do not run the models
}

// measured notes the largest relative difference of the outputs.
func (v *Verdict) measured(engine string, worst float64) {
	v.Engine, v.Compared, v.Error = engine, true, nil
	if !math.IsNaN(worst) && !math.IsInf(worst, 0) {
		v.Error = &worst
	}
}

// decide says what the checks come to.
func (v *Verdict) decide() {
	switch {
	case !v.Faces:
		v.Verdict, v.Reason = Different, "the inputs or outputs are not those of the original"
	case v.Slices != Exact && v.Slices != NotChecked:
		v.Verdict, v.Reason = Different, "planned slices: "+v.Slices
	case !v.Compared:
		v.Verdict, v.Reason = NotCompared, v.Engine
	case v.Error == nil:
		v.Verdict, v.Reason = Different, "the outputs have other shapes, or elements that are not finite numbers"
	case *v.Error > v.Bound:
		v.Verdict, v.Reason = Different, fmt.Sprintf("largest relative error of the outputs %.2g, want at most %g", *v.Error, v.Bound)
	default:
		v.Verdict = Equal
	}
}

// String is the verdict with its reason.
func (v *Verdict) String() string {
	if v.Reason == "" {
		return v.Verdict
	}
	return v.Verdict + ": " + v.Reason
}
