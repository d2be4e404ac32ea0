// Package allocate finds out how much of a model's importance each of its groups deserves. Criteria rank units within a group well enough, but what a group may lose differs: a residual trunk that
// all other layers depend on suffers more than the inside of a block. Search moves the logarithms of all scores of a group by one offset each, prunes, repairs (prune/repair) and compares the result with the
// original on inputs without labels, and keeps the offsets that come closest: group by group it lets a share of the units more and less leave, which is a sensitivity scan, and goes towards the lowest points of the parabolas through what it saw. Its goal is the mean
// over several speed-ups of the logarithm of one minus the outputs' cosine, which goes with accuracy where the squared error, which counts their scale too, does not.
//
// The offsets go into prune.Options.Allocation. They are also what a metanetwork is trained for (native/metatrain), which then gives them in one pass and without data.
//
// # Errors
//
// Those of prune and of the repair's engine. A speed-up that the model cannot reach is replaced by the largest that it can.
//
// # Concurrency
//
// A search runs its trials one after the other and does not change the model.
package allocate
