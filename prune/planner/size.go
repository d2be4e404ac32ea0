package planner

import (
	"context"
	"errors"

	"github.com/metaprune/metaprune/graphcodec/coupling"
)

// sizeTries bounds how often a plan for a size is made again with what the last one taught about the files.
const sizeTries = 8

// chooseBySize removes units until the files that are written are no larger than the target. How large they become is known once the smaller model is made: constants change how they are stored, nodes are added. So a plan is made
// with an estimate of all that is no constant, measured, and made again with the right one.
func (p *planner) chooseBySize(ctx context.Context) error {
	goal := p.o.Target.Bytes
	p.rest = p.a.Source().WrittenSize(p.o.DataFile) - p.start.Bytes()
	var best *coupling.State
	var largest int64
	for range sizeTries {
		p.state, p.gone = p.a.NewState(), make([]int, len(p.a.Groups))
		err := p.choose(ctx)
		var missed *TargetError
		if err != nil && !errors.As(err, &missed) {
			return err
		}
		if err == nil && p.state.Count() == 0 {
			return nil
		}
		m, shrinkErr := p.a.Shrink(p.state)
		if shrinkErr != nil {
			return shrinkErr
		}
		size := m.WrittenSize(p.o.DataFile)
		rest := size - p.state.Bytes()
		switch {
		case size <= goal && (best == nil || size > largest):
			best, largest = p.state, size
		case size > goal && missed != nil:
			p.rest = rest
			want, got := p.describe()
			return &TargetError{Want: want, Got: got}
		}
		if rest == p.rest || size <= goal && goal-size <= goal/100 {
			break
		}
		p.rest = rest
	}
	if best == nil {
		want, got := p.describe()
		return &TargetError{Want: want, Got: got}
	}
	p.state = best
	return nil
}
