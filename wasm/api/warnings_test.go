package api

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// What is to be expected of an unrepaired model is said in a header, and in the plan.
func TestWarnings(t *testing.T) {
	data := model(t)
	h := handlerOf(t, Config{})
	var plan []byte
	for target, want := range map[string]string{
		"/v1/prune?speed-up=2":  "unrepaired: expect a much lower accuracy, often near chance",
		"/v1/prune?pattern=2:4": "zeros-only: expect a lower accuracy",
		"/v1/prune?speed-up=1":  "",
		"/v1/masks?speed-up=2":  "unrepaired: expect a much lower accuracy, often near chance",
	} {
		w := call(h, "POST", target, bytes.NewReader(data))
		require.Equal(t, 200, w.Code, w.Body)
		if want == "" {
			require.NotContains(t, w.Header(), "Metaprune-Warning", target)
			continue
		}
		require.Contains(t, w.Header().Get("Metaprune-Warning"), want, target)
		if target == "/v1/masks?speed-up=2" {
			plan = w.Body.Bytes()
		}
	}
	var p struct{ Warnings []planner.Warning }
	require.NoError(t, json.Unmarshal(plan, &p))
	require.Len(t, p.Warnings, 1)
	require.Equal(t, planner.Unrepaired, p.Warnings[0].Code)
	body, kind := multi(t, "plan", plan, "model", data)
	w := call(h, "POST", "/v1/apply", body, "Content-Type", kind)
	require.Equal(t, 200, w.Code, w.Body)
	require.Contains(t, w.Header().Get("Metaprune-Warning"), "unrepaired")
	w = call(h, "POST", "/v1/inspect", bytes.NewReader(data))
	require.NotContains(t, w.Header(), "Metaprune-Warning")
}

// Groups are kept whole by ID as by name.
func TestIgnoreByID(t *testing.T) {
	data := model(t)
	h := handlerOf(t, Config{})
	removed := func(query string) map[string]int {
		w := call(h, "POST", "/v1/masks?ratio=.5&ranking=group"+query, bytes.NewReader(data))
		require.Equal(t, 200, w.Code, w.Body)
		p, err := planner.ParsePlan(w.Body.Bytes())
		require.NoError(t, err)
		out := map[string]int{}
		for _, g := range p.Groups {
			out[g.ID] = len(g.Removed)
		}
		return out
	}
	require.Positive(t, removed("")["g2"])
	kept := removed("&ignore=g2")
	require.Zero(t, kept["g2"])
	require.Positive(t, kept["g3"])
}
