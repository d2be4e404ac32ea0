package planner

import (
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/stretchr/testify/require"
)

func TestWarnings(t *testing.T) {
	removed := []coupling.Removal{{Tensor: "w", Axis: 0, Indices: []int{1}}}
	half, little := Achieved{MACs: [2]int64{100, 50}, Params: [2]int64{100, 70}}, Achieved{MACs: [2]int64{100, 95}, Params: [2]int64{100, 90}}
	fewer := Achieved{MACs: [2]int64{100, 99}, Params: [2]int64{100, 40}}
	for name, c := range map[string]struct {
		plan Plan
		want []string // code and words
	}{
		"nothing removed":      {Plan{Repair: "none", Removed: []coupling.Removal{}, Achieved: half}, nil},
		"removed":              {Plan{Repair: "none", Removed: removed, Achieved: half}, []string{Unrepaired, "near chance", `option "calibrate DIR"`}},
		"of an old plan":       {Plan{Removed: removed, Achieved: half}, []string{Unrepaired, "near chance", `option "repair noise"`}},
		"few removed":          {Plan{Repair: "none", Removed: removed, Achieved: little}, []string{Unrepaired, "a lower accuracy", "finetune"}},
		"parameters":           {Plan{Repair: "none", Removed: removed, Achieved: fewer}, []string{Unrepaired, "near chance", "finetune"}},
		"metanetwork's weight": {Plan{Repair: "none", Weights: "metanet", Removed: removed, Achieved: half}, []string{Unrepaired, "near chance", "finetune"}},
		"repaired":             {Plan{Repair: "data", Removed: removed, Achieved: half}, nil},
		"repaired on noise":    {Plan{Repair: "noise", Removed: removed, Achieved: half}, nil},
		"2:4":                  {Plan{Repair: "none", Zeroed: []Zeroed{{Tensor: "w", Pattern: "2:4"}}}, []string{ZerosOnly, "sparse tensor cores", `option "keep-zeros"`}},
		"1:8":                  {Plan{Repair: "none", Zeroed: []Zeroed{{Tensor: "w", Pattern: "1:8"}}}, []string{ZerosOnly, "neither the file smaller", `option "keep-zeros"`}},
		"unstructured":         {Plan{Repair: "none", Zeroed: []Zeroed{{Tensor: "w", Pattern: "unstructured", Count: 3}}}, []string{ZerosOnly, "pattern unstructured", `option "speed-up"`}},
		"no zeros":             {Plan{Repair: "none", Zeroed: []Zeroed{{Tensor: "w", Pattern: "unstructured"}}}, nil},
	} {
		got := c.plan.NewWarnings()
		if c.want == nil {
			require.Empty(t, got, name)
			continue
		}
		require.Len(t, got, 1, name)
		require.Equal(t, c.want[0], got[0].Code, name)
		for _, words := range c.want[1:] {
			require.Contains(t, got[0].String(), words, name)
		}
		require.False(t, strings.ContainsFunc(got[0].String(), func(r rune) bool { return r < ' ' || r > '~' }), "it goes into a header")
		c.plan.Format, c.plan.Version, c.plan.ModelSHA256 = "metaprune-plan", PlanVersion, strings.Repeat("0", 64)
		raw, err := MarshalPlan(&c.plan)
		require.NoError(t, err)
		require.Contains(t, string(raw), `"code": "`+c.want[0]+`"`, name)
		again, err := ParsePlan(raw)
		require.NoError(t, err)
		require.Empty(t, again.Warnings, "a plan that is repaired later has others")
		same, err := MarshalPlan(again)
		require.NoError(t, err)
		require.Equal(t, string(raw), string(same), name)
	}
}
