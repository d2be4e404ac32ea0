// Command browser is metaprune as WebAssembly for a web worker: open a model, list its groups, plan, apply. worker.js loads it, index.js is the module that pages use.
//
// # Limits
//
// One model at a time, in one file; see maxBytes. Nothing is uploaded.
//
// # Errors
//
// Errors are sentences for the page's user, with the place in the model where there is one.
//
// # Concurrency
//
// Calls run one after the other. To cancel one, end the worker.
package main
