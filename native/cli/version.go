package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is set by the linker (-X) in builds of a release. Where it is empty, programVersion says
// the version of the module.
var Version string

// programVersion is the version that the program prints and writes into its files: Version, the
// version of the module where `go install` has built it, or "dev".
func programVersion() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(Version, info)
}

func versionOf(linked string, info *debug.BuildInfo) string {
	switch {
	case linked != "":
		return linked
	case info != nil && info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version
	}
	return "dev"
}

// versionOr prints the version where --version is given.
func (a *app) versionOr(version *bool, or func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if *version && len(args) == 0 {
			return a.printVersion()
		}
		return or(c, args)
	}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return a.printVersion() }}
}

// versionReport is what version prints with --json.
type versionReport struct {
	Version string `json:"metaprune"`
	Go      string `json:"go"`
}

func (a *app) printVersion() error {
	v := versionReport{programVersion(), runtime.Version()}
	if a.json {
		return a.printJSON(v)
	}
	_, err := fmt.Fprintf(a.out, "metaprune %s (%s)\n", v.Version, v.Go)
	return err
}
