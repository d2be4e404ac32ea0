// Package gram accumulates second moments of rows that arrive a few at a time, and solves the least
// squares that they make: for layers whose inputs and targets are too many to be in memory at once.
// The products are taken in float32 by the engine that runs the model, since it is the fastest thing
// at hand, and are added in float64. Rows are centred by an estimate of their mean first, which keeps
// the digits that a large mean would take. Small products are taken in float64 here.
//
// # Limits
//
// An accumulator holds the square of the number of inputs in float64, and a block of rows.
//
// # Errors
//
// Those of the engine.
//
// # Concurrency
//
// Products and accumulators are used from one goroutine at a time. They work on all cores.
package gram
