// Package calib prepares what repairs and the criteria obs, wanda and hessian look at: calibration samples, or noise where
// there are none. It says what a sample of a model is (names, types and shapes of the inputs), divides samples into those to
// fit on and those that only judge, and scores channels by them. Where samples are read from is the caller's business.
//
// # Limits
//
// Samples lie along the first axis of every input. Noise is made for real inputs of known size alone.
//
// # Errors
//
// [SampleError] for samples that do not fit a model's inputs, [NoiseError] where noise does not stand for them, and the
// engine's, with the criterion's name.
//
// # Concurrency
//
// All functions may be called at the same time, as far as the engine allows it.
package calib
