package planner

import (
	"context"
	"math"
)

// Bounds of balancing two counts: how far one may be beyond the target, and how strongly scores may be shifted for it.
const (
	balanced    = 1.02
	largestTilt = 2.0
)

// chooseBalanced removes units until both counts of the work reach the target. Where sizes of the inputs are given, both are real counts, and the one that ends beyond the target is brought closer to it: groups whose work only the other
// one sees get lower scores, as little as it takes.
func (p *planner) chooseBalanced(ctx context.Context) error {
	if err := p.choose(ctx); err != nil {
		return err
	}
	c := p.a.CountedAt()
	if c == nil || c.Assumed || p.beyond() <= balanced {
		return nil
	}
	tilt := p.tilt()
	best, least := p.state, p.beyond()
	for t := largestTilt / 32; t <= largestTilt && least > balanced; t *= 2 {
		p.state, p.gone, p.bias = p.a.NewState(), make([]int, len(p.a.Groups)), make([]float64, len(p.a.Groups))
		for i := range p.bias {
			p.bias[i] = math.Exp(t * tilt[i])
		}
		if p.choose(ctx) == nil && p.beyond() < least {
			best, least = p.state, p.beyond()
		}
	}
	p.state = best
	return ctx.Err()
}

// speedUps are how much less work there is, by both counts.
func (p *planner) speedUps() (evaluated, static float64) {
	ratio := func(before, after int64) float64 { return float64(max(before, 1)) / float64(max(after, 1)) }
	return ratio(p.start.MACs(), p.state.MACs()), ratio(p.start.VisibleMACs(), p.state.VisibleMACs())
}

// beyond is how far the larger speed-up is beyond the target.
func (p *planner) beyond() float64 {
	x, y := p.speedUps()
	return max(x, y) / p.o.Target.SpeedUp
}

// tilt says of each group which count its work belongs to: below 0 to the one that is behind.
func (p *planner) tilt() []float64 {
	out := make([]float64, len(p.a.Groups))
	evaluated, static := p.speedUps()
	for i := range p.a.Groups {
		g := &p.a.Groups[i]
		if g.Frozen != "" || len(g.Units) == 0 {
			continue
		}
		x := share(p.start.Saves(g.Units[0]), p.start.MACs())
		y := share(p.start.VisibleSaves(g.Units[0]), p.start.VisibleMACs())
		out[i] = max(-2, min(math.Log(y/x), 2))
		if evaluated > static {
			out[i] = -out[i]
		}
	}
	return out
}

// share is a part of a whole, never quite 0.
func share(part, whole int64) float64 { return max(float64(part)/float64(max(whole, 1)), 1e-9) }
