// Package search finds how far a model can be pruned until a measurement says stop: [Accuracy] finds the largest speed-up
// that keeps an accuracy, [Latency] the least speed-up that makes a model fast enough. The caller gives the two things that
// differ between programs, as functions: how a candidate is pruned and how it is measured.
//
// # Limits
//
// Speed-ups by multiply-accumulates (MACs) from [Step] to [Top] are tried. Both searches assume that accuracy and time fall
// as more is removed. Where they do not, the result still reaches the goal, but a better one may exist.
//
// # Errors
//
// [planner.TargetError] from the caller's prune function means that the model cannot be pruned so far, and the search goes
// on. All other errors of the caller's functions end the search. [FailedError] reports that no candidate is good enough,
// [planner.OptionError] a goal without meaning.
//
// # Concurrency
//
// A search calls the caller's functions one after the other.
package search
