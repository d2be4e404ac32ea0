package api

import (
	"net/url"
	"strings"
	"testing"

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
