package faults

import (
	"errors"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/search"
)

// The kinds of errors.
const (
	Format      = "format"      // a file is not what it should be
	Unsupported = "unsupported" // a valid file uses something that metaprune does not handle
	Usage       = "usage"       // an option has no meaning
	Target      = "target"      // the target cannot be reached
	Check       = "check"       // what was to be checked does not hold
	IO          = "io"          // a file cannot be written
	Other       = "other"
)

// Fault is what an error is about. Fields that do not apply are empty.
type Fault struct {
	Kind  string
	Where string // the option, or the place in the file
	Want  string
	Got   string
}

// sampleFault is an error of calibration samples; calib.SampleError.
type sampleFault interface {
	error
	Fault() (where, want, got string)
}

// Of describes an error; Kind is [Other] where it is none of a portable package's.
func Of(err error) Fault {
	var target *planner.TargetError
	var failed *search.FailedError
	var option *planner.OptionError
	var clash *outfile.ClashError
	var taken *outfile.TakenError
	var unwritten *outfile.WriteError
	var unsupported *onnxio.UnsupportedError
	var format *onnxio.FormatError
	var plan *planner.PlanError
	var samples sampleFault
	switch {
	case errors.As(err, &target):
		return Fault{Kind: Target, Want: target.Want, Got: target.Got}
	case errors.As(err, &failed):
		return Fault{Kind: Check}
	case errors.As(err, &option):
		return Fault{Usage, option.Where, option.Want, option.Got}
	case errors.As(err, &clash):
		return Fault{Usage, clash.Output, "a file of its own for " + clash.OutputUse, clash.OtherUse}
	case errors.As(err, &taken):
		return Fault{Usage, taken.Data, "the data file of " + taken.Model + ", or none", "a file of another model"}
	case errors.As(err, &unwritten):
		return Fault{Kind: IO, Where: unwritten.Name, Got: unwritten.Err.Error()}
	case errors.As(err, &unsupported):
		return Fault{Kind: Unsupported, Where: unsupported.Path, Got: unsupported.What}
	case errors.As(err, &format):
		return Fault{Format, format.Path, format.Want, format.Got}
	case errors.As(err, &samples):
		where, want, got := samples.Fault()
		return Fault{Format, where, want, got}
	case errors.As(err, &plan):
		return Fault{Kind: Format, Where: "plan"}
	}
	return Fault{Kind: Other}
}
