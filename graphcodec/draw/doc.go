// Package draw writes pictures: layers and groups of a parameter graph as SVG ([WriteSVG]), and the path along which channels of a group are coupled as SVG ([Paths]) or in Graphviz's language ([DotPaths]).
//
// # Limits
//
// Long names are cut at their beginning.
//
// # Errors
//
// Those of the writer.
//
// # Concurrency
//
// Functions may be called from several goroutines.
package draw
