// Package experiment holds what experiments on many models consist of: the jobs of a curve of accuracy against speed-up,
// whose points are kept in a folder or a bucket and put together from several machines, and the shards that divide jobs
// between them. How a point is measured is the caller's business.
//
// # Limits
//
// Points are taken over from runs of the same version with the same options alone.
//
// # Errors
//
// Errors name the file of points that is of another model, of other options or of another version.
//
// # Concurrency
//
// A Job is used from one goroutine at a time; machines share a folder by measuring different jobs.
package experiment
