package engine

// Chunks divides samples into parts of at most size samples each, of as equal size as can be, in
// their order. Of stacks a sample is one entry of the stack. Parts share the samples' numbers.
func Chunks(samples map[string]Array, size int) []map[string]Array {
	n := Count(samples)
	if n == 0 {
		return []map[string]Array{samples}
	}
	parts := (n + size - 1) / max(size, 1)
	each := (n + parts - 1) / parts
	var out []map[string]Array
	for from := 0; from < n; from += each {
		part := map[string]Array{}
		for name, a := range samples {
			part[name] = a.Part(from, min(from+each, n))
		}
		out = append(out, part)
	}
	return out
}

// ChunksFor divides samples for an engine. One that does not compile would prepare a model anew for
// each chunk, and gets all samples as one.
func ChunksFor(e Engine, samples map[string]Array) []map[string]Array {
	if _, ok := e.(Compiler); !ok {
		return Chunks(samples, Count(samples))
	}
	return Chunks(samples, ChunkSize(samples))
}

// Count is the number of samples, or of entries of stacks.
func Count(samples map[string]Array) int {
	n := 0
	for _, a := range samples {
		if a.Stack > 0 {
			return a.Stack
		}
		if len(a.Dims) > 0 {
			n = a.Dims[0]
		}
	}
	return n
}

// Part is the samples from, ..., to-1 of an array, or entries of a stack.
func (a Array) Part(from, to int) Array {
	out := a
	n := a.Stack
	if n == 0 {
		n = a.Dims[0]
	} else {
		out.Stack = to - from
	}
	out.Dims = append([]int{a.Dims[0] / n * (to - from)}, a.Dims[1:]...)
	if size := len(a.Floats) / n; a.Floats != nil {
		out.Floats = a.Floats[from*size : to*size : to*size]
	}
	if size := len(a.Ints) / n; a.Ints != nil {
		out.Ints = a.Ints[from*size : to*size : to*size]
	}
	return out
}

// chunkBytes is about how many bytes the inputs of a chunk take: few samples of large pictures, many
// of small ones.
const chunkBytes = 2500 << 10

// ChunkSize is how many samples are to run at a time.
func ChunkSize(samples map[string]Array) int {
	bytes := 0
	for _, a := range samples {
		bytes += 4*len(a.Floats) + 8*len(a.Ints)
	}
	n := Count(samples)
	return max(min(n, chunkBytes*n/max(bytes, 1), 64), 1)
}
