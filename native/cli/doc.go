// Package cli is the metaprune command line: a thin shell over prune/session.
//
// # Limits
//
// Models are mapped from disk, or read whole from standard input.
//
// # Errors
//
// Exit code 0 is fine, 1 a target that cannot be reached or a check that failed, 2 bad input or usage. Nothing is written unless everything
// before it held.
//
// # Concurrency
//
// One command per process.
package cli
