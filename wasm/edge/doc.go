// Command edge is metaprune's HTTP API as a worker at the edge (Cloudflare Workers and what is like them), by way of github.com/syumai/workers. One instance answers one request after the other; models come in the request or, with
// the options key and to, from a bucket, where the result goes back.
//
// # Limits
//
// A worker has 128 MB of memory, so a model in a request is bounded by what fits beside its analysis (MAX_BYTES). Models in the bucket may be larger: their larger tensors are read one by one, and written so. What does not fit is refused with 413 and the number.
//
// # Errors
//
// Those of package api, 404 for a key that the bucket lacks, 502 for a bucket that fails.
//
// # Concurrency
//
// worker.mjs lets one request in at a time.
package main
