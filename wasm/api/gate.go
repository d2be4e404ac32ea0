package api

import (
	"context"
	"net/http"

	"golang.org/x/sync/semaphore"
)

// gate bounds how many requests are under way and how much memory they may have together. Small ones have a lane of their own, so that large ones do not hold them up.
type gate struct {
	requests     *semaphore.Weighted
	limit        int64
	large, small *semaphore.Weighted
	budget       int64 // of the large lane
	smallBudget  int64
}

// smallShare is the part of the memory that is kept for small requests.
const smallShare = 4

func newGate(requests, memory int64) *gate {
	small := memory / smallShare
	return &gate{requests: semaphore.NewWeighted(requests), limit: requests, large: semaphore.NewWeighted(memory - small), small: semaphore.NewWeighted(small), budget: memory - small, smallBudget: small}
}

// enter takes a place for a request, or says that there is none.
func (g *gate) enter() (leave func(), err error) {
	if !g.requests.TryAcquire(1) {
		return nil, limited(http.StatusTooManyRequests, g.limit, "%d requests are running, which is the limit; try again", g.limit)
	}
	return func() { g.requests.Release(1) }, nil
}

// work waits until a request may have so many bytes.
func (g *gate) work(ctx context.Context, bytes int64) (done func(), err error) {
	if bytes > g.budget {
		return nil, limited(http.StatusRequestEntityTooLarge, g.budget, "this takes about %d bytes of memory, more than the limit of %d", bytes, g.budget)
	}
	lane := g.large
	if bytes <= g.smallBudget/smallShare {
		lane = g.small
	}
	if err := lane.Acquire(ctx, bytes); err != nil {
		return nil, err
	}
	return func() { lane.Release(bytes) }, nil
}
