// Package verify checks a pruned model against its original: it has the same inputs and outputs, exactly the slices of the
// plan are removed, and both models give the same outputs. The verdict is one of three: equal, different or not compared.
//
// Outputs are compared between the pruned model and the original with the planned slices set to zero, which is the same
// function. After a repair, which changes the outputs on purpose, the cut without its repair is compared in this way, and
// the pruned model is compared with what the plan makes of the original.
//
// # Limits
//
// Random inputs: normal numbers for real inputs, zeros and ones for others; free dims that
// no size is given for are 2. Nothing is compared where a
// node takes means over channels that were removed, since zeros in their place do not give the same.
//
// # Errors
//
// [planner.PlanError] for a plan that is not of this model, and onnxio's for constants that cannot be read. An engine that
// does not run the models makes the verdict "not compared", with the reason.
//
// # Concurrency
//
// Calls of Check are independent of one another, as far as the engines are.
package verify
