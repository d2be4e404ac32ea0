// Package cli is the metaprune command line: a thin shell over package prune.
//
// # Limits
//
// Models are mapped from disk, or read whole from standard input.
//
// # Errors
//
// Exit code 0 is fine, 1 a target that cannot be reached or a check that failed, 2 bad input or usage, 128 and the signal's number an interruption. Nothing is written unless everything
// before it held. With --json an error is one line of JSON on standard error (faultReport).
//
// # Signals
//
// SIGINT and SIGTERM cancel the command's context. What has not ended 0.6 s later is ended from outside (ending), after its temporary files are removed; a checkpoint that is being written and requests that are
// being answered are waited for. A second signal ends the process at once.
//
// # Concurrency
//
// One command per process.
package cli
