// Package train finetunes and trains ONNX models on data sets and keeps everything about a run in
// one folder: config.json, metrics.jsonl (one line an epoch), checkpoint.safetensors, the models
// model.onnx (last) and best.onnx (best on validation), curves.svg and report.html.
//
// A run that was interrupted, by a signal or by force, goes on from its checkpoint when it is
// started again with the same configuration, and ends with the numbers of an undisturbed run: the
// order of the images and what happens to them depend on seed, epoch and index alone.
//
// # Limits
//
// Classifiers with one image input and one output of logits (or of a Softmax, whose input is taken).
//
// # Errors
//
// Errors name what does not fit: the folder's configuration, the input's shape, the labels.
//
// # Concurrency
//
// A Run is used by one goroutine; two runs need two folders.
package train
