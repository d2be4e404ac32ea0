// Package options is the one table of what a request for a smaller model can say. The HTTP API and its OpenAPI document are made from it; the flags of the command line, the types of the npm module, the Go client
// and the browser's messages are held against it by tests.
//
// # Limits
//
// The table says what options are called and take, not what they do: that is prune.Request.
//
// # Errors
//
// None.
//
// # Concurrency
//
// The table is read only.
package options
