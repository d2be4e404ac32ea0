package kernel

import "golang.org/x/sys/cpu"

func supported() map[string]tiler {
	out := map[string]tiler{}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		out["AVX2"] = tiler{rows: 6, panels: 1, tile: tileAVX2, taps: tapsVector}
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasFMA {
		out["AVX-512"] = tiler{rows: 12, panels: 2, tile: tileAVX512, taps: tapsVector}
	}
	return out
}
