package repair

import (
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/metaprune/metaprune/prune/engine"
)

// store keeps values by chunk of the samples, and spills what is above its bound. What is spilled
// stays so: every chunk is read once in a pass, so that no choice of what to spill reads less.
type store struct {
	sizes  []int // samples of each chunk
	values map[string][]part
	memory engine.Memory
	bytes  int64 // of values in memory
	own    string
	keys   int
}

// part is a value on one chunk.
type part struct {
	engine.Array
	there bool
	key   string // of what is spilled; the array has no floats then
	given bool   // an input, which takes no room of the store
}

func newStore(inputs []map[string]Array, memory engine.Memory) *store {
	s := &store{values: map[string][]part{}, memory: memory}
	s.own = fmt.Sprintf("%p-", s)
	for i, chunk := range inputs {
		s.sizes = append(s.sizes, engine.Count(chunk))
		for name, a := range chunk {
			if s.values[name] == nil {
				s.values[name] = make([]part, len(inputs))
			}
			s.values[name][i] = part{Array: a, there: true, given: true}
		}
	}
	return s
}

// like is a value's dims, type and integers on a chunk.
func (s *store) like(name string, i int) Array { return s.values[name][i].Array }

// has reports whether a value has been computed and is one of floats.
func (s *store) has(name string) bool {
	v := s.values[name]
	return len(v) > 0 && v[0].there && v[0].Ints == nil
}

// part is a value on a chunk. It is not to be changed.
func (s *store) part(name string, i int) (Array, error) {
	v := s.values[name]
	if v == nil || !v[i].there {
		return Array{}, fmt.Errorf("value %q was not computed", name)
	}
	a := v[i].Array
	if v[i].key == "" {
		return a, nil
	}
	a.Floats = make([]float32, length(a.Dims))
	return a, s.memory.Spill.Get(v[i].key, a.Floats)
}

// put keeps a value of a chunk.
func (s *store) put(name string, i int, a Array) error {
	if s.values[name] == nil {
		s.values[name] = make([]part, len(s.sizes))
	}
	s.dropPart(name, i)
	p := part{Array: a, there: true}
	size := 4 * int64(len(a.Floats))
	if m := s.memory; m.Spill != nil && m.Bytes > 0 && size > 0 && s.bytes+size > m.Bytes {
		s.keys++
		p.key = fmt.Sprint(s.own, s.keys)
		if err := m.Spill.Put(p.key, a.Floats); err != nil {
			return err
		}
		p.Floats = nil
	}
	s.bytes += 4 * int64(len(p.Floats))
	s.values[name][i] = p
	return nil
}

func length(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// dropPart forgets a value of one chunk.
func (s *store) dropPart(name string, i int) {
	v := s.values[name]
	if v == nil {
		return
	}
	if p := v[i]; p.key != "" {
		_ = s.memory.Spill.Drop(p.key) // what stays in the folder is removed with it
	} else if !p.given {
		s.bytes -= 4 * int64(len(p.Floats))
	}
	v[i].there, v[i].Floats, v[i].key, v[i].given = false, nil, "", false
}

// drop forgets a value.
func (s *store) drop(name string) {
	for i := range s.values[name] {
		s.dropPart(name, i)
	}
	delete(s.values, name)
}

// close forgets all values.
func (s *store) close() {
	for name := range s.values {
		s.drop(name)
	}
}

// fixed reports whether a value is a constant for chunks of a length: integers that are the same in
// all of them, or nothing at all.
func (s *store) fixed(name string, size int) bool {
	var first *part
	for i := range s.values[name] {
		p := &s.values[name][i]
		if s.sizes[i] != size {
			continue
		}
		if p.Stack > 0 || p.Ints == nil && length(p.Dims) > 0 {
			return false
		}
		if first != nil && (!slices.Equal(first.Ints, p.Ints) || !slices.Equal(first.Dims, p.Dims)) {
			return false
		}
		first = p
	}
	return true
}

// each visits the chunks of several values.
func (s *store) each(visit func(i int, v []Array) error, names ...string) error {
	for i := range s.sizes {
		v := make([]Array, len(names))
		for k, name := range names {
			var err error
			if v[k], err = s.part(name, i); err != nil {
				return err
			}
		}
		if err := visit(i, v); err != nil {
			return err
		}
	}
	return nil
}

// change changes a value in place on every chunk.
func (s *store) change(name string, f func(a Array)) error {
	return s.each(func(i int, v []Array) error {
		f(v[0])
		if s.values[name][i].key == "" {
			return nil
		}
		return s.put(name, i, v[0])
	}, name)
}

// parallel splits n items over the cores.
func parallel(n int, f func(from, to int)) {
	workers := min(runtime.GOMAXPROCS(0), max(n, 1))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { f(w*n/workers, (w+1)*n/workers) })
	}
	wg.Wait()
}
