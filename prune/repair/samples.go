package repair

import "github.com/metaprune/metaprune/prune/engine"

// Names of package engine that repairs are asked with.
type (
	Array  = engine.Array
	Engine = engine.Engine
)

// Least is how many samples a repair wants at least: the last of them only judge it.
const Least = 5

// Held is how many of so many samples only judge a repair: a fifth, at least one.
func Held(samples int) int { return max(samples/5, 1) }
