// Package samples reads calibration samples from files: pictures (a folder or a zip file), arrays
// (NPZ, NPY, IDX), tables (CSV), lines of text with a tokenizer, and sound (WAV). It decodes,
// scales and normalises them as the model's inputs want them, and gives them as a [calib.Source].
//
// Pictures are resized as Pillow and torchvision do it. How pixels become numbers is taken from the
// options, else from what the model's first operators do to its input, else ImageNet's usual mean
// and standard deviation.
//
// # Limits
//
// Files of up to [MaxFile] bytes, in an archive after unpacking, and pictures of up to [MaxPixels]
// pixels. Pictures, sound and text are decoded when they are read; tables and arrays at once.
//
// # Errors
//
// [calib.SampleError] with the file, what was wanted, what was found and what to do. Names of files
// in an archive are shown, never opened as paths.
//
// # Concurrency
//
// Samples may be read from several goroutines. Close ends that.
package samples
