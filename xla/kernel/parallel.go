package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Parallel calls f for 0 to n-1 on all cores and returns when all calls are done. A panic of f is
// raised again here.
func Parallel(n int, f func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var failed atomic.Pointer[any]
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					failed.Store(&p)
				}
			}()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wait.Wait()
	if p := failed.Load(); p != nil {
		panic(*p)
	}
}

// grain is how many numbers one call of a cheap function should work on.
const grain = 1 << 14

// Ranges divides 0 to n into ranges of a multiple of step and calls f for each on all cores.
func Ranges(n, step int, f func(from, to int)) {
	each := max((grain+step-1)/step, 1) * step
	Parallel((n+each-1)/each, func(i int) { f(i*each, min((i+1)*each, n)) })
}
