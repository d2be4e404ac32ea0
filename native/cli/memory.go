package cli

import (
	"fmt"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/dustin/go-humanize"
	"github.com/metaprune/metaprune/onnxio"
)

// memoryOf is what the container, or else the machine, has; 0 where it cannot be told.
var memoryOf = func() uint64 {
	n, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil {
		return 0
	}
	return n
}

// Pruning takes at most about this many bytes per node of the graph (docs/results/attacks.md); models with fewer nodes are not checked.
const (
	bytesPerNode = 4000
	manyNodes    = 50_000
)

// fits refuses a graph that would end the program for lack of memory, which the system does without a word.
func fits(path string, m *onnxio.Model) error {
	n := len(m.Graph.Nodes)
	if n < manyNodes {
		return nil
	}
	need, has := uint64(n)*bytesPerNode, memoryOf()
	if has == 0 || need < has {
		return nil
	}
	return fmt.Errorf("%s has %s nodes, and needs about %s of memory for the analysis, but %s are available: use a machine or a container with more memory", path, humanize.Comma(int64(n)), humanize.Bytes(need), humanize.Bytes(has))
}
