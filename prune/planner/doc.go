// Package planner scores the units of a graphcodec.Analysis, chooses which leave, records that as a [Plan] and applies it: rank, plan, check, apply.
//
// Importance follows Torch-Pruning's GroupMagnitudeImportance (DepGraph, arXiv 2301.12900, section 3.3): per output row, input column and normalisation weight the
// sum of |w|^p, reduced over a group's members and normalised within the group. Depthwise kernels are not counted, as there.
//
// # Limits
//
// Cost counts Conv, ConvTranspose, Gemm and MatMul; dimensions known only at run time count as 1.
//
// # Errors
//
// [TargetError] where a target cannot be reached, with the nearest that can; [PlanError] for plans that do not fit the model. Nothing is changed in place.
//
// # Concurrency
//
// Scoring uses all cores; sums are taken in a fixed order of blocks, so that scores are equal bit for bit on every number of cores.
package planner
