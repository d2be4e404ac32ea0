// Package faults says what an error is about in a form that programs can tell apart: its kind, where it is, what was wanted
// and what was got. The command line's JSON errors and the service's problem details are made from it.
//
// # Limits
//
// It knows the errors of the portable packages. Errors of files, requests and flags are their owners' to describe.
//
// # Errors
//
// None of its own.
//
// # Concurrency
//
// Of may be called at the same time.
package faults
