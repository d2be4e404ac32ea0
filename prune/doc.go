// Package prune makes ONNX models smaller: it removes channels that can only be removed together, repairs the rest without labels and writes the smaller model.
//
//	m, err := prune.Open("model.onnx")
//	small, err := m.Prune(ctx, prune.Options{SpeedUp: 2})
//	err = small.Save("small.onnx")
//
// [Open] reads a file and [Read] bytes; [Model.Inspect] says what a model consists of, [Model.Plan] chooses what is removed, [Model.Apply] replays a plan, [Model.Prune] does all of it and repairs the result with a [Calibration];
// [Pruned.Verify] compares the result with the original. An [Engine] runs models: package xla has one.
//
// # Compatibility
//
// From v0.2.0 on, a minor version keeps the names and the meaning of Open, Read, Model's methods named above, Options, Calibration, Pruned and the types that they use. What else is exported here (Request, Prepared, Rewrite, metanetworks'
// files, hashes and streams) is for the front ends of this module and may change in any version, like all packages below prune, graphcodec and native.
//
// # Limits
//
// Those of packages onnxio, graphcodec/coupling and prune/planner.
//
// # Errors
//
// planner.OptionError for options without meaning, planner.TargetError for a target that cannot be reached, planner.PlanError for a plan of another model, onnxio.FormatError and onnxio.UnsupportedError for files.
//
// # Concurrency
//
// A Model is used from one goroutine at a time.
package prune
