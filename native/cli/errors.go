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
	"github.com/metaprune/metaprune/prune/faults"
)

// Exit codes.
const (
	exitOK     = 0
	exitTarget = 1
	exitInput  = 2
	exitSignal = 128 // and the number of the signal: 130 for Ctrl-C, 143 for SIGTERM
)

// kindCancelled is the kind of an error that a signal caused; the others are those of package faults.
const kindCancelled = "cancelled"

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
	known := faults.Of(err)
	f := fault{Kind: known.Kind, Where: known.Where, Want: known.Want, Got: known.Got, Message: plain(withFlags(err.Error()))}
	var usage *usageError
	var format *onnxio.FormatError
	var check failedCheck
	var at *fs.PathError
	var link *os.LinkError
	switch {
	case signal != nil || errors.Is(err, context.Canceled):
		f = fault{Kind: kindCancelled, Message: f.Message}
		if signal != nil {
			f.Got = signalName(signal)
		}
	case known.Kind == faults.Target:
	case errors.As(err, &check):
		f = fault{Kind: faults.Check, Message: f.Message}
	case known.Kind == faults.Usage, known.Kind == faults.IO:
	case errors.As(err, &usage):
		f.Kind, f.Where, f.Want, f.Got = faults.Usage, usage.where, usage.want, usage.got
	case errors.As(err, &at):
		f.Kind, f.Where, f.Want, f.Got = faults.IO, at.Path, "", at.Err.Error()
	case errors.As(err, &link):
		f.Kind, f.Where, f.Want, f.Got = faults.IO, link.New, "", link.Err.Error()
	case errors.As(err, &format):
		f.Got = cmp.Or(f.Got, format.Err.Error())
	}
	for _, text := range []*string{&f.Where, &f.Want, &f.Got} {
		*text = plain(withFlags(*text))
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
	case f.Kind == faults.Target, f.Kind == faults.Check:
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
