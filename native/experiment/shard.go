package experiment

import (
	"os"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/prune/planner"
)

// ParseShard reads K/N: the jobs whose number leaves K when divided by N. "" is all of them, 0/1. /N takes K from the
// environment of a Kubernetes Indexed Job or a Slurm array. Errors are [planner.OptionError].
func ParseShard(s string) (k, n int, err error) {
	if s == "" {
		return 0, 1, nil
	}
	own, of, ok := strings.Cut(s, "/")
	if own == "" {
		for _, name := range []string{"JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID"} {
			if v := os.Getenv(name); own == "" {
				own = v
			}
		}
		if own == "" {
			return 0, 0, &planner.OptionError{Where: "shard", Want: "a number before the slash, such as 0" + s + ", since neither JOB_COMPLETION_INDEX nor SLURM_ARRAY_TASK_ID is set", Got: s}
		}
	}
	k, errK := strconv.Atoi(own)
	n, errN := strconv.Atoi(of)
	if !ok || errK != nil || errN != nil || n < 1 || k < 0 || k >= n {
		return 0, 0, &planner.OptionError{Where: "shard", Want: "K/N with K from 0 to N-1", Got: s}
	}
	return k, n, nil
}
