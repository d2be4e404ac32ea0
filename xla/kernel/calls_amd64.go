package kernel

import "unsafe"

// call16 calls the kernel of n rows and 16 columns. A table of functions would move every tile to the heap.
func call16(t *tile, n int) {
	p := (*byte)(unsafe.Pointer(t))
	switch n {
	case 1:
		tile1x16(p)
	case 2:
		tile2x16(p)
	case 3:
		tile3x16(p)
	case 4:
		tile4x16(p)
	case 5:
		tile5x16(p)
	case 6:
		tile6x16(p)
	case 7:
		tile7x16(p)
	case 8:
		tile8x16(p)
	case 9:
		tile9x16(p)
	case 10:
		tile10x16(p)
	case 11:
		tile11x16(p)
	case 12:
		tile12x16(p)
	}
}

// call32 calls the kernel of n rows and 32 columns. A table of functions would move every tile to the heap.
func call32(t *tile, n int) {
	p := (*byte)(unsafe.Pointer(t))
	switch n {
	case 1:
		tile1x32(p)
	case 2:
		tile2x32(p)
	case 3:
		tile3x32(p)
	case 4:
		tile4x32(p)
	case 5:
		tile5x32(p)
	case 6:
		tile6x32(p)
	case 7:
		tile7x32(p)
	case 8:
		tile8x32(p)
	case 9:
		tile9x32(p)
	case 10:
		tile10x32(p)
	case 11:
		tile11x32(p)
	case 12:
		tile12x32(p)
	}
}

// callAVX2 calls the kernel of n rows.
func callAVX2(t *tile, n int) {
	p := (*byte)(unsafe.Pointer(t))
	switch n {
	case 1:
		tile1AVX2(p)
	case 2:
		tile2AVX2(p)
	case 3:
		tile3AVX2(p)
	case 4:
		tile4AVX2(p)
	case 5:
		tile5AVX2(p)
	case 6:
		tile6AVX2(p)
	}
}

//go:noescape
func tile1x16(t *byte)

//go:noescape
func tile1x32(t *byte)

//go:noescape
func tile2x16(t *byte)

//go:noescape
func tile2x32(t *byte)

//go:noescape
func tile3x16(t *byte)

//go:noescape
func tile3x32(t *byte)

//go:noescape
func tile4x16(t *byte)

//go:noescape
func tile4x32(t *byte)

//go:noescape
func tile5x16(t *byte)

//go:noescape
func tile5x32(t *byte)

//go:noescape
func tile6x16(t *byte)

//go:noescape
func tile6x32(t *byte)

//go:noescape
func tile7x16(t *byte)

//go:noescape
func tile7x32(t *byte)

//go:noescape
func tile8x16(t *byte)

//go:noescape
func tile8x32(t *byte)

//go:noescape
func tile9x16(t *byte)

//go:noescape
func tile9x32(t *byte)

//go:noescape
func tile10x16(t *byte)

//go:noescape
func tile10x32(t *byte)

//go:noescape
func tile11x16(t *byte)

//go:noescape
func tile11x32(t *byte)

//go:noescape
func tile12x16(t *byte)

//go:noescape
func tile12x32(t *byte)

//go:noescape
func tile1AVX2(t *byte)

//go:noescape
func tile2AVX2(t *byte)

//go:noescape
func tile3AVX2(t *byte)

//go:noescape
func tile4AVX2(t *byte)

//go:noescape
func tile5AVX2(t *byte)

//go:noescape
func tile6AVX2(t *byte)
