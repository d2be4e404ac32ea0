package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/metaprune/metaprune/prune"
	"github.com/spf13/cobra"
)

// Version is set by the build.
var Version = "dev"

// Exit codes.
const (
	exitOK     = 0
	exitTarget = 1
	exitInput  = 2
	exitSignal = 130
)

// failedCheck is an error that exits with 1: what was asked for does not hold.
type failedCheck struct{ error }

// app holds what commands share.
type app struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	quiet    bool
}

// Main runs the command line and returns its exit code.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{in: in, out: out, err: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(errOut, "metaprune: %v\n", err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitSignal
	}
	var target *prune.TargetError
	var check failedCheck
	if errors.As(err, &target) || errors.As(err, &check) {
		return exitTarget
	}
	return exitInput
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "metaprune",
		Short:         "Make ONNX models smaller",
		Long:          "metaprune finds which channels of an ONNX model hang together, scores them, cuts them out and writes a smaller ONNX model.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON object instead of text")
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no tables")
	root.AddCommand(a.inspectCommand(), a.explainCommand(), a.pruneCommand(), a.verifyCommand(), a.newCommand(), a.trainCommand(), a.finetuneCommand(), a.evalCommand(), a.curveCommand(), a.allocateCommand(), a.analyseCommand(), a.doctorCommand(), a.graphCommand(), a.inlineCommand(), a.metanetCommand(), a.datamodelsCommand(), a.metatrainCommand(), a.pipelineCommand(), a.taskCommand(), a.serveCommand(), a.opsCommand(), a.versionCommand())
	return root
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		info, _ := debug.ReadBuildInfo()
		v := map[string]string{"metaprune": Version, "go": info.GoVersion}
		if a.json {
			return a.printJSON(v)
		}
		_, err := fmt.Fprintf(a.out, "metaprune %s (%s)\n", Version, info.GoVersion)
		return err
	}}
}
