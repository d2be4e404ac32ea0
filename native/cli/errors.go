package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune/planner"
)

// Exit codes.
const (
	exitOK     = 0
	exitTarget = 1
	exitInput  = 2
	exitSignal = 128 // and the number of the signal: 130 for Ctrl-C, 143 for SIGTERM
)

// The kinds of errors that --json tells apart.
const (
	kindFormat      = "format"      // a file is not what it should be
	kindUnsupported = "unsupported" // a valid file uses something that metaprune does not handle
	kindUsage       = "usage"       // arguments or flags
	kindTarget      = "target"      // the target cannot be reached
	kindCheck       = "check"       // what was to be checked does not hold
	kindIO          = "io"          // a file or a device cannot be read or written
	kindCancelled   = "cancelled"   // a signal came
	kindOther       = "other"
)

// failedCheck is an error that exits with 1: what was asked for does not hold.
type failedCheck struct{ error }

func (e failedCheck) Unwrap() error { return e.error }

// usageError is a wrong use of the command line that has a sentence of its own.
type usageError struct {
	where, want, got string
	text             string
}

func (e *usageError) Error() string { return e.text }

// fault is an error as --json prints it on standard error, in one line, the last one.
type fault struct {
	Kind    string `json:"kind"`
	Where   string `json:"where,omitempty"` // the flag, or the place in the file
	Want    string `json:"want,omitempty"`
	Got     string `json:"got,omitempty"`
	Message string `json:"message"`
}

type faultReport struct {
	Error fault `json:"error"`
}

// faultOf says what kind of error it is, and where it is. An error that came after a signal is the signal's.
func faultOf(err error, signal os.Signal) fault {
	f := fault{Kind: kindOther, Message: plain(err.Error())}
	var option *planner.OptionError
	var usage *usageError
	var format *onnxio.FormatError
	var unsupported *onnxio.UnsupportedError
	var target *planner.TargetError
	var check failedCheck
	var plan *planner.PlanError
	var at *fs.PathError
	var link *os.LinkError
	var clash *outfile.ClashError
	var taken *outfile.TakenError
	var unwritten *outfile.WriteError
	switch {
	case signal != nil || errors.Is(err, context.Canceled):
		f.Kind = kindCancelled
		if signal != nil {
			f.Got = signalName(signal)
		}
	case errors.As(err, &target):
		f.Kind, f.Want, f.Got = kindTarget, target.Want, target.Got
	case errors.As(err, &check):
		f.Kind = kindCheck
	case errors.As(err, &option):
		f.Kind, f.Where, f.Want, f.Got = kindUsage, option.Where, option.Want, option.Got
	case errors.As(err, &usage):
		f.Kind, f.Where, f.Want, f.Got = kindUsage, usage.where, usage.want, usage.got
	case errors.As(err, &clash):
		f.Kind, f.Where, f.Want, f.Got = kindUsage, clash.Output, "a file of its own for "+clash.OutputUse, clash.OtherUse
	case errors.As(err, &taken):
		f.Kind, f.Where, f.Want, f.Got = kindUsage, taken.Data, "the data file of "+taken.Model+", or none", "a file of another model"
	case errors.As(err, &unwritten):
		f.Kind, f.Where, f.Got = kindIO, unwritten.Name, unwritten.Err.Error()
	case errors.As(err, &at):
		f.Kind, f.Where, f.Got = kindIO, at.Path, at.Err.Error()
	case errors.As(err, &link):
		f.Kind, f.Where, f.Got = kindIO, link.New, link.Err.Error()
	case errors.As(err, &unsupported):
		f.Kind, f.Where, f.Got = kindUnsupported, unsupported.Path, unsupported.What
	case errors.As(err, &format):
		f.Kind, f.Where, f.Want, f.Got = kindFormat, format.Path, format.Want, cmp.Or(format.Got, format.Err.Error())
	case errors.As(err, &plan):
		f.Kind, f.Where = kindFormat, "plan"
	}
	for _, text := range []*string{&f.Where, &f.Want, &f.Got} {
		*text = plain(*text)
	}
	return f
}

// exitCode is the code that an error ends the program with.
func (f fault) exitCode(signal os.Signal) int {
	switch {
	case signal != nil:
		return exitSignal + signalNumber(signal)
	case f.Kind == kindCancelled:
		return exitSignal + signalNumber(os.Interrupt)
	case f.Kind == kindTarget, f.Kind == kindCheck:
		return exitTarget
	}
	return exitInput
}

// print writes an error for people, or as JSON.
func (f fault) print(w io.Writer, asJSON bool) {
	if !asJSON {
		fmt.Fprintf(w, "metaprune: %s\n", f.Message)
		return
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(faultReport{f})
}

// wantsJSON reports whether arguments that may be wrong ask for JSON.
func wantsJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.ContainsFunc(args, func(s string) bool { return s == "--json" || strings.HasPrefix(s, "--json=t") || s == "--json=1" })
}
