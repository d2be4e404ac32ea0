package faults

import (
	"errors"
	"fmt"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/search"
	"github.com/stretchr/testify/require"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Fault
	}{
		{&planner.TargetError{Want: "2x", Got: "1.5x"}, Fault{Target, "", "2x", "1.5x"}},
		{&search.FailedError{Option: "latency"}, Fault{Kind: Check}},
		{&planner.OptionError{Where: "ranking", Want: "global", Got: "x"}, Fault{Usage, "ranking", "global", "x"}},
		{&onnxio.UnsupportedError{Path: "graph", What: "Loop"}, Fault{Unsupported, "graph", "", "Loop"}},
		{&onnxio.FormatError{Path: "graph", Want: "a", Got: "b", Err: errors.New("c")}, Fault{Format, "graph", "a", "b"}},
		{&outfile.ClashError{Output: "a", OutputUse: "the plan", OtherUse: "the model"}, Fault{Usage, "a", "a file of its own for the plan", "the model"}},
		{&outfile.TakenError{Data: "a.data", Model: "a"}, Fault{Usage, "a.data", "the data file of a, or none", "a file of another model"}},
		{&outfile.WriteError{Name: "a", Err: errors.New("full")}, Fault{IO, "a", "", "full"}},
		{&planner.PlanError{}, Fault{Format, "plan", "", ""}},
		{&calib.SampleError{File: "a.wav", Input: "x", Want: "16000 numbers", Got: "8000"}, Fault{Format, `a.wav: input "x"`, "16000 numbers", "8000"}},
		{&calib.SampleError{File: "a.jpg", Err: errors.New("cut off")}, Fault{Format, "a.jpg", "", "cut off"}},
		{errors.New("something else"), Fault{Kind: Other}},
	} {
		require.Equal(t, c.want, Of(c.err), "%T", c.err)
		require.Equal(t, c.want, Of(fmt.Errorf("around: %w", c.err)), "%T", c.err)
	}
}
