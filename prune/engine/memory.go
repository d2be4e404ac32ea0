package engine

// Memory bounds what is kept of values between runs. Its zero value has no bound.
type Memory struct {
	Bytes int64 // that values may take before they are spilled; 0 is no bound
	Spill Spill // takes what is above the bound; nil keeps it in memory
}

// Spill keeps floats outside of memory, such as in a file.
type Spill interface {
	// Put keeps v by a key that is not in use.
	Put(key string, v []float32) error
	// Get reads what Put has kept, of the same length.
	Get(key string, v []float32) error
	// Drop forgets what Put has kept.
	Drop(key string) error
}
