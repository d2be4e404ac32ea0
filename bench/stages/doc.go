// Package stages times each stage that a model flows through, over models of growing size (make bench).
//
// # Limits
//
// It has benchmarks alone.
//
// # Errors
//
// None.
//
// # Concurrency
//
// None.
package stages
