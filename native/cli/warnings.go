package cli

import (
	"fmt"
	"os"

	"github.com/metaprune/metaprune/prune/planner"
)

// warn prints warnings to standard error, a line each, with --quiet too; with --json they are part of the answer instead.
func (a *app) warn(warnings []planner.Warning) {
	if a.json {
		return
	}
	mark := "WARNING:"
	if isTerminal(a.err) && os.Getenv("NO_COLOR") == "" {
		mark = "\x1b[1;33m" + mark + "\x1b[0m"
	}
	for _, w := range warnings {
		fmt.Fprintln(a.err, mark, plain(withFlags(w.String())))
	}
}

// notes prints sentences for people to standard error, a line each; not with --quiet or --json.
func (a *app) notes(list []string) {
	if a.json || a.quiet {
		return
	}
	for _, n := range list {
		fmt.Fprintln(a.err, plain(withFlags(n)))
	}
}

// warnings are what to expect of the model that is written; none without a model, or where a search by
// accuracy has measured it.
func (c *cut) warnings() []planner.Warning {
	if c.model == nil || c.search != nil {
		return nil
	}
	return c.plan.NewWarnings()
}
