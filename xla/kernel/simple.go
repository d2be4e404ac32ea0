package kernel

// Mean writes the mean over the positions of x [n, positions, channels] to out [n, channels].
func Mean(out, x []float32, n, positions, channels int) {
	Parallel(n, func(i int) {
		sum := make([]float64, channels)
		for p := range positions {
			for c, v := range x[(i*positions+p)*channels:][:channels] {
				sum[c] += float64(v)
			}
		}
		for c, v := range sum {
			out[i*channels+c] = float32(v / float64(positions))
		}
	})
}

// Turn writes x [n, rows, columns] as [n, columns, rows] to out.
func Turn(out, x []float32, n, rows, columns int) {
	const block = 32
	size, across := rows*columns, (columns+block-1)/block
	Parallel(n*across, func(i int) {
		from := i % across * block
		to := min(from+block, columns)
		in, y := x[i/across*size:][:size], out[i/across*size:][:size]
		for r := 0; r < rows; r += block {
			end := min(r+block, rows)
			for c := from; c < to; c++ {
				for k := r; k < end; k++ {
					y[c*rows+k] = in[k*columns+c]
				}
			}
		}
	})
}
