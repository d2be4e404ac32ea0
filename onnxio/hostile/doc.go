// Package hostile makes models and plans that lie, repeat and nest, to be tried on the command line, the HTTP API, the page and the worker: each has to give a clear error or a right result, in time
// and memory that go with the size of the file.
//
// # Limits
//
// Files are a few kilobytes, those of Big up to some tens of megabytes.
//
// # Errors
//
// None.
//
// # Concurrency
//
// All functions are independent of each other.
package hostile
