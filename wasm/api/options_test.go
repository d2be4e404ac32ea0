package api

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// Requests that differ have other keys, whatever their texts contain, and an option in another spelling is the same one.
func TestKeysTellRequestsApart(t *testing.T) {
	key := func(query string) string {
		v, err := url.ParseQuery(query)
		require.NoError(t, err)
		j := newJob()
		require.NoError(t, j.parse(v, "query"))
		return j.key()
	}
	seen := map[string]string{}
	for _, q := range []string{"", "speed-up=2", "speed-up=20", "ratio=.2", "ignore=a&ignore=b", "ignore=a%22+%22b", "ignore=a+b", "ignore=a%7Cb", "pattern=unstructured&sparsity=.5", "pattern=unstructured%7C.5",
		"reduction=max", "normalizer=max", "seed=1", "steps=1", "round-to=1", "seed=1&steps=1", "speed-up=2&count-computed=true"} {
		k := key(q)
		require.NotContains(t, seen, k, q)
		seen[k] = q
	}
	require.Equal(t, key("speed-up=2"), key("speed_up=2"))
	require.Equal(t, key("speed-up=2&seed=1"), key("seed=1&speed-up=2"))
}

func TestOptionsThatAreThereTwice(t *testing.T) {
	h, data := handlerOf(t, Config{}), model(t)
	body, kind := multi(t, "model", data, "seed", "1")
	checkProblem(t, call(h, "POST", "/v1/masks?speed-up=2&seed=2", body, "Content-Type", kind), 400, "field seed", "it is given 2 times")
	body, kind = multi(t, "model", data)
	checkProblem(t, call(h, "POST", "/v1/masks?speed-up=2&speed_up=3", body, "Content-Type", kind), 400, "query speed_up", "it is given 2 times")
	parts := []any{"model", data}
	for range 300 {
		parts = append(parts, "ignore", strings.Repeat("x", 4000))
	}
	body, kind = multi(t, parts...)
	checkProblem(t, call(h, "POST", "/v1/masks?speed-up=2", body, "Content-Type", kind), 413, "", "more than 1048576 bytes")
}

// Numbers may be written as people write them.
func TestFactorsAndShares(t *testing.T) {
	for _, c := range []struct {
		query string
		got   func(j *job) float64
		want  float64
	}{
		{"speed-up=2x", func(j *job) float64 { return j.Target.SpeedUp }, 2},
		{"params=50%25", func(j *job) float64 { return j.Target.Params }, .5},
		{"ratio=30%25", func(j *job) float64 { return j.Target.Ratio }, .3},
		{"max-ratio=90%25", func(j *job) float64 { return j.MaxRatio }, .9},
		{"size=40%25", func(j *job) float64 { return j.share }, .4},
		{"size=10MB", func(j *job) float64 { return float64(j.Target.Bytes) }, 1e7},
	} {
		v, err := url.ParseQuery(c.query)
		require.NoError(t, err)
		j := newJob()
		require.NoError(t, j.parse(v, "query"), c.query)
		require.InDelta(t, c.want, c.got(j), 1e-12, c.query)
	}
	h, data := handlerOf(t, Config{}), model(t)
	body, kind := multi(t, "model", data)
	w := call(h, "POST", "/v1/masks?size=60%25", body, "Content-Type", kind)
	require.Equal(t, 200, w.Code, w.Body)
	var p planner.Plan
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
	require.LessOrEqual(t, p.Achieved.Bytes[1], int64(len(data))*6/10)
	require.Greater(t, p.Achieved.Bytes[1], int64(len(data))/2)
}

// What is wrong with a request has its kind, what was wanted and what was given.
func TestKindsOfProblems(t *testing.T) {
	h, data := handlerOf(t, Config{}), model(t)
	for query, want := range map[string]Problem{
		"speed-up=fast":              {Kind: "usage", Where: "query speed-up", Want: "a number such as 2 or 2x, at least 1", Got: "fast"},
		"speed-up=NaN":               {Kind: "usage", Where: "query speed-up", Want: "a number such as 2 or 2x, at least 1", Got: "NaN"},
		"ratio=150%25":               {Kind: "usage", Where: "query ratio", Want: "a share such as 0.3 or 30%, above 0 and at most 1", Got: "150%"},
		"speedup=2":                  {Kind: "usage", Where: "query speedup", Want: "an option", Got: "speedup"},
		"speed-up=2&ranking=isomorf": {Kind: "usage", Where: "query ranking", Want: "global, group or isomorphic", Got: "isomorf"},
		"speed-up=2&pattern=none":    {Kind: "usage", Where: "query"},
		"pattern=none":               {Kind: "usage", Where: "pattern", Want: "channels, unstructured or N:M such as 2:4", Got: "none"},
		"speed-up=100000":            {Kind: "target", Want: "speed-up 100000"},
	} {
		body, kind := multi(t, "model", data)
		w := call(h, "POST", "/v1/masks?"+query, body, "Content-Type", kind)
		var p Problem
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
		require.Equal(t, want.Kind, p.Kind, "%s: %s", query, w.Body)
		require.Equal(t, want.Where, p.Where, query)
		require.Equal(t, want.Want, p.Want, query)
		if want.Got != "" {
			require.Equal(t, want.Got, p.Got, query)
		}
	}
}

// A pattern of ignore that fits nothing is refused, with the names that come near it.
func TestIgnoreThatFitsNothing(t *testing.T) {
	h, data := handlerOf(t, Config{}), model(t)
	for _, path := range []string{"/v1/masks", "/v1/prune"} {
		w := call(h, "POST", path+"?speed-up=2&ignore=fc.*&ignore=fc.wieght", bytes.NewReader(data))
		require.Equal(t, 400, w.Code, w.Body)
		var p Problem
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
		require.Equal(t, []string{"usage", "ignore", "fc.wieght"}, []string{p.Kind, p.Where, p.Got})
		require.Contains(t, p.Detail, `ignore "fc.wieght": want a node, a tensor or a group of the model (inspect lists them with option "all" and option "groups")`)
		require.Contains(t, p.Detail, "did you mean fc.weight")
	}
}
