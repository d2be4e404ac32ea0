package calib

import (
	"fmt"

	"github.com/metaprune/metaprune/prune/repair"
)

// Source gives calibration samples, a few at a time, so that not all of them have to be in memory.
type Source interface {
	// Len is the number of samples.
	Len() int
	// Read returns the samples from, from+1, ..., from+n-1 of every input of the model, by the
	// inputs' names: arrays whose first axis has n entries, with Type set. Reading the same samples
	// again gives the same numbers. It may be called from several goroutines.
	Read(from, n int) (map[string]repair.Array, error)
}

// ReadAll reads every sample of a source.
func ReadAll(s Source) (map[string]repair.Array, error) { return s.Read(0, s.Len()) }

// Memory is a source of samples that are in memory already, all arrays of the same number of them.
func Memory(samples map[string]repair.Array) Source { return memory(samples) }

type memory map[string]repair.Array

func (m memory) Len() int {
	for _, a := range m {
		return a.Dims[0]
	}
	return 0
}

func (m memory) Read(from, n int) (map[string]repair.Array, error) {
	if from < 0 || n < 0 || from > m.Len()-n {
		return nil, fmt.Errorf("samples %d to %d of %d", from, from+n, m.Len())
	}
	out := map[string]repair.Array{}
	for name, a := range m {
		_, rest := a.Split(from)
		out[name], _ = rest.Split(n)
	}
	return out, nil
}
