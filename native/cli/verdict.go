package cli

import (
	"fmt"
	"math"

	"github.com/jedib0t/go-pretty/v6/table"
)

// The three verdicts of verify.
const (
	equal       = "equal"
	different   = "different"
	notCompared = "not compared"
)

// What verify says of the planned slices, where it does not say what is wrong.
const (
	exact      = "exact"
	notChecked = "not checked"
)

// verdict is what verify prints with --json.
type verdict struct {
	Verdict  string   `json:"verdict"`          // equal, different or not compared
	Reason   string   `json:"reason,omitempty"` // of the last two
	Readable bool     `json:"readable"`
	Faces    bool     `json:"same_inputs_and_outputs"`
	Slices   string   `json:"slices"` // "exact", "not checked" or what is wrong
	Engine   string   `json:"engine"` // what the outputs were compared in, or why they were not
	Compared bool     `json:"compared"`
	Error    *float64 `json:"max_rel_err"` // null where nothing was compared, and where the difference is no finite number
	Bound    float64  `json:"rtol"`        // largest Error that is equal
	OK       bool     `json:"ok"`          // whether verify exits with 0
}

// measured notes the largest relative difference of the outputs.
func (v *verdict) measured(engine string, worst float64) {
	v.Engine, v.Compared, v.Error = engine, true, nil
	if !math.IsNaN(worst) && !math.IsInf(worst, 0) {
		v.Error = &worst
	}
}

// decide says what the checks come to.
func (v *verdict) decide() {
	switch {
	case !v.Faces:
		v.Verdict, v.Reason = different, "the inputs or outputs are not those of the original"
	case v.Slices != exact && v.Slices != notChecked:
		v.Verdict, v.Reason = different, "planned slices: "+v.Slices
	case !v.Compared:
		v.Verdict, v.Reason = notCompared, v.Engine
	case v.Error == nil:
		v.Verdict, v.Reason = different, "the outputs have other shapes, or elements that are no finite numbers"
	case *v.Error > v.Bound:
		v.Verdict, v.Reason = different, fmt.Sprintf("largest relative error of the outputs %.2g, want at most %g", *v.Error, v.Bound)
	default:
		v.Verdict = equal
	}
}

// line is the verdict in a sentence.
func (v *verdict) line() string {
	if v.Verdict == equal {
		return "verdict: equal"
	}
	return "verdict: " + v.Verdict + ": " + plain(v.Reason)
}

func (a *app) printVerdict(v *verdict) error {
	if a.json {
		return a.printJSON(v)
	}
	if !a.quiet {
		t := a.table("check", "result")
		t.AppendRows([]table.Row{{"readable, shapes valid", v.Readable}, {"inputs and outputs", map[bool]string{true: "the same", false: "differ"}[v.Faces]}, {"planned slices", v.Slices}, {"engine", v.Engine}})
		if v.Error != nil {
			t.AppendRow(table.Row{"largest relative error", fmt.Sprintf("%.2g (bound %g)", *v.Error, v.Bound)})
		}
		t.Render()
	}
	_, err := fmt.Fprintln(a.out, v.line())
	return err
}
