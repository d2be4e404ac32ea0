// Package dim has lengths of axes: numbers, or expressions of named sizes that are free. Two expressions are equal where their texts are: sums are gathered, products factored, everything else is written out.
//
// # Limits
//
// Numbers are int64; a product that does not fit is reported by [MulOK].
//
// # Errors
//
// None.
//
// # Concurrency
//
// A Dim is a value.
package dim
