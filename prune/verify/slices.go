package verify

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
)

// checkSlices says whether the pruned model's constants are the original's without the planned slices.
func checkSlices(before, after *coupling.Analysis, p *planner.Plan) (string, error) {
	want, err := planner.Expected(before, p)
	if err != nil {
		return "", err
	}
	have, named := map[string]*op.Constant{}, map[string]bool{}
	for _, c := range after.Constants() {
		have[c.Name] = c
	}
	for _, t := range want {
		named[t.Name] = true
		switch c := have[t.Name]; {
		case c == nil:
			return fmt.Sprintf("%q is missing", t.Name), nil
		case !sameElements(t, c.Tensor):
			return fmt.Sprintf("%q differs from the planned slice of the original", t.Name), nil
		}
	}
	if len(p.Zeroed) > 0 {
		return checkZeros(before, have, p)
	}
	for _, c := range before.Constants() {
		if now := have[c.Name]; !named[c.Name] && now != nil && c.Tensor.DataType.IsFloat() && slices.Equal(c.Tensor.Dims, now.Tensor.Dims) && !sameElements(c.Tensor, now.Tensor) {
			return fmt.Sprintf("%q differs from the original, and the plan does not name it", c.Name), nil
		}
	}
	return Exact, nil
}

func sameElements(want, got *onnxio.Tensor) bool {
	x, errX := want.Bytes()
	y, errY := got.Bytes()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// checkZeros says whether every constant is what the plan's zeros make of the original's.
func checkZeros(before *coupling.Analysis, have map[string]*op.Constant, p *planner.Plan) (string, error) {
	m, err := planner.Apply(before, p)
	if err != nil {
		return "", err
	}
	planned, err := coupling.Analyze(m)
	if err != nil {
		return "", err
	}
	for _, c := range planned.Constants() {
		switch now := have[c.Name]; {
		case now == nil:
			return fmt.Sprintf("%q is missing", c.Name), nil
		case !sameElements(c.Tensor, now.Tensor):
			return fmt.Sprintf("%q differs from the planned slice of the original", c.Name), nil
		}
	}
	return Exact, nil
}
