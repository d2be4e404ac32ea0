package cli

import (
	"io"
	"os"
	"time"

	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/spf13/cobra"
)

// app holds what commands share.
type app struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	quiet    bool
	ending   *ending
	stages   *stages
	every    time.Duration // between two lines of progress
	columns  int           // of the terminal that tables are fitted to; 0 to ask it
}

// begin is what every command does first.
func (a *app) begin(c *cobra.Command, args []string) error {
	if err := requiredFlags(c, args); err != nil {
		return err
	}
	if !a.quiet && a.stages == nil && a.every > 0 && c.Name() != "serve" { // serve has its log
		a.stages = newStages(a.err, c.Name(), a.every)
	}
	return nil
}

// Main runs the command line and returns its exit code. A signal that the command does not heed in time ends the process.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	errOut = locked(errOut)
	a := &app{in: in, out: out, err: errOut, ending: newEnding(), every: tick}
	defer func() { a.stages.end() }()
	report := func(err error) int {
		a.stages.end()
		f := faultOf(err, a.ending.got())
		f.print(errOut, wantsJSON(args))
		return f.exitCode(a.ending.got())
	}
	ctx, stop := a.ending.watch(func(s os.Signal) {
		outfile.RemoveTemporary() // nothing is written afterwards
		os.Exit(report(stopped(s)))
	})
	defer stop()
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // without arguments cobra would take the ones of the process
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	if err := root.ExecuteContext(ctx); err != nil {
		return report(err)
	}
	return exitOK
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "metaprune",
		Short:             "Make ONNX models smaller",
		Long:              "metaprune finds which channels of an ONNX model are coupled, scores them, removes the least important ones and writes a smaller ONNX model.",
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: a.begin,
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON object instead of text")
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no tables")
	root.AddCommand(a.inspectCommand(), a.explainCommand(), a.pruneCommand(), a.verifyCommand(), a.newCommand(), a.trainCommand(), a.finetuneCommand(), a.evalCommand(), a.curveCommand(), a.allocateCommand(), a.analyseCommand(), a.doctorCommand(), a.graphCommand(), a.inlineCommand(), a.metanetCommand(), a.datamodelsCommand(), a.metatrainCommand(), a.pipelineCommand(), a.taskCommand(), a.serveCommand(), a.opsCommand(), a.versionCommand())
	version := root.Flags().Bool("version", false, "print the version")
	finish(root)
	root.RunE = a.versionOr(version, root.RunE)
	return root
}
