package cli

import (
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/session"
	"github.com/spf13/cobra"
)

func (a *app) evalCommand() *cobra.Command                             { return &cobra.Command{Use: "eval"} }
func checkSlices(before, after *session.Session, p *prune.Plan) string { return "exact" }
func compareOutputs(v *verdict, before, after *session.Session, p *prune.Plan, seed int64) error {
	return nil
}
