package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// The page's plans and models are those of the session, whatever order they are asked for in.
func TestTool(t *testing.T) {
	data, err := os.ReadFile("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	own, err := prune.Read(data, nil)
	require.NoError(t, err)
	tl, ctx := &tool{}, context.Background()
	_, err = tl.plan(ctx, &request{Criterion: "l2"})
	require.ErrorIs(t, err, errNoModel)
	_, err = tl.apply(nil, nil)
	require.ErrorIs(t, err, errNoModel)
	report, err := tl.open(data)
	require.NoError(t, err)
	require.Equal(t, own.Inspect(), report.Report)
	require.Equal(t, []input{{"image", "float32", []int{-1, 1, 28, 28}}}, report.Tensors)
	for range 2 {
		for _, raw := range []string{`{"target":{"speed_up":2}}`, `{"target":{"speed_up":3},"steps":4,"criterion":"l1"}`, `{"target":{"ratio":0.3},"criterion":"random","seed":5}`, `{"target":{"params":0.6},"criterion":"metanet"}`, `{"pattern":"2:4"}`} {
			r, err := parse(raw)
			require.NoError(t, err)
			v, err := tl.plan(ctx, r)
			require.NoError(t, err, raw)
			p, err := own.Prepare(ctx, r.Criterion, "", metanetOf(t, r.Criterion), noOptions)
			require.NoError(t, err)
			q := prune.Request{Options: planner.Options{Target: r.Target, Criterion: planner.Criterion{Kind: r.Criterion, Seed: r.Seed}, Steps: r.Steps}, Pattern: r.Pattern, Sparsity: .5}
			want, err := p.MakePlan(ctx, q)
			require.NoError(t, err)
			own.Sign(want)
			raw, err := planner.MarshalPlan(want)
			require.NoError(t, err)
			require.Equal(t, string(raw), v.Plan)
			require.Equal(t, want.Achieved.MACs, v.MACs)
			m, err := tl.apply([]byte(v.Plan), nil)
			require.NoError(t, err)
			got, err := m.Marshal()
			require.NoError(t, err)
			ownModel, err := own.Apply(want)
			require.NoError(t, err)
			expect, err := ownModel.Marshal()
			require.NoError(t, err)
			require.True(t, bytes.Equal(expect, got))
		}
	}
}

// A file that is read in parts gives the same report, plans and models.
func TestFileInParts(t *testing.T) {
	data, err := os.ReadFile("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	ctx, whole, tl := context.Background(), &tool{}, &tool{}
	want, err := whole.open(data)
	require.NoError(t, err)
	gone := false
	got, err := tl.openFile(int64(len(data)), func(offset, length int64) ([]byte, error) {
		if gone {
			return nil, errors.New("the file can no longer be read")
		}
		return bytes.Clone(data[offset:min(offset+length, int64(len(data)))]), nil
	})
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, raw := range []string{`{"target":{"speed_up":2}}`, `{"target":{"params":0.6},"criterion":"metanet"}`, `{"pattern":"2:4"}`, `{"pattern":"unstructured"}`} {
		r, err := parse(raw)
		require.NoError(t, err)
		a, err := whole.plan(ctx, r)
		require.NoError(t, err)
		b, err := tl.plan(ctx, r)
		require.NoError(t, err)
		require.Equal(t, a, b, raw)
		x, err := whole.apply([]byte(a.Plan), nil)
		require.NoError(t, err)
		y, err := tl.apply([]byte(b.Plan), nil)
		require.NoError(t, err)
		want, err := x.Marshal()
		require.NoError(t, err)
		got, err := y.Marshal()
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), raw)
	}
	gone = true
	_, err = tl.plan(ctx, &request{Criterion: "l1", Target: planner.Target{SpeedUp: 2}})
	require.ErrorContains(t, err, "can no longer be read")
}

func TestToolErrors(t *testing.T) {
	tl, ctx := &tool{}, context.Background()
	_, err := tl.open([]byte("no model"))
	require.Error(t, err)
	data, err := os.ReadFile("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	_, err = tl.open(data[:1000])
	require.Error(t, err)
	require.Equal(t, "graph.node[1]", place(fmt.Errorf("x: %w", &onnxio.FormatError{Path: "graph.node[1]", Err: err})))
	require.Equal(t, "graph", place(&onnxio.UnsupportedError{Path: "graph"}))
	require.Empty(t, place(errNoModel))
	_, err = tl.open(data)
	require.NoError(t, err)
	_, err = tl.plan(ctx, &request{Criterion: "l2", Target: planner.Target{SpeedUp: 1e9}})
	require.ErrorContains(t, err, "cannot be reached")
	_, err = tl.apply([]byte(`{"format":"metaprune-plan","version":1,"model_sha256":"`+strings.Repeat("0", 64)+`","weights":"metanet"}`), nil)
	require.ErrorContains(t, err, "use the command line to replay it")
	_, err = parse("{")
	require.ErrorContains(t, err, "cannot be read")
	_, err = parse(`{"speedup":2}`)
	require.ErrorContains(t, err, `no such option "speedup"`)
	_, err = parse(`{"steps":"x"}`)
	require.ErrorContains(t, err, "cannot be read")
	require.Greater(t, estimate(100<<20), int64(200<<20))
	require.Less(t, estimate(300<<20), int64(500<<20))
}

var noOptions = metanet.Options{}

func metanetOf(t *testing.T, criterion string) *prune.Metanet {
	t.Helper()
	if criterion != "metanet" {
		return nil
	}
	m, err := prune.LoadMetanet(nil)
	require.NoError(t, err)
	return m
}

// Two requests that differ in where a word stands are two: their scores are not taken for one another's.
func TestScoresAreKeptByEveryOption(t *testing.T) {
	tl, ctx := &tool{}, context.Background()
	data, err := os.ReadFile("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	_, err = tl.open(data)
	require.NoError(t, err)
	requests := []*request{{Criterion: "l2", Reduction: "max"}, {Criterion: "l2", Normalizer: "max"}, {Criterion: "l2", Reduction: "max", Normalizer: "max"}, {Criterion: "random", Seed: 1}, {Criterion: "random", Seed: 2}}
	seen := map[string]int{}
	for i, r := range requests {
		_, got, err := tl.score(ctx, r)
		require.NoError(t, err)
		want, err := tl.prepared[r.Criterion].Score(r.criterion())
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(want), fmt.Sprint(got), "NaN is no equal of itself")
		seen[fmt.Sprint(got)] = i
	}
	require.Len(t, seen, len(requests))
	require.Len(t, tl.scores, len(requests))
}
