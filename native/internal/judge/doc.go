// Package judge lets tests ask the independent judge of pruned models, testdata/check_pruned.py in ONNX Runtime. One Python process judges all models of a test.
//
// # Limits
//
// It needs the Python environment that `make venv` makes, or METAPRUNE_PYTHON. Without one nothing is judged, which fails in CI.
//
// # Errors
//
// Tests fail with what the judge says.
//
// # Concurrency
//
// A Judge is asked from one goroutine at a time.
package judge
