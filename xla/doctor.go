package xla

import (
	"fmt"
	"math"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// Diagnosis is what Doctor found about one backend.
type Diagnosis struct {
	Backend string  `json:"backend"`
	Works   bool    `json:"works"`
	Detail  string  `json:"detail"`
	Install string  `json:"install,omitempty"` // the command that makes it work, or work faster
	GFLOPS  float64 `json:"matmul_gflops,omitempty"`
}

// installHint is the command that installs what a backend needs.
func installHint(kind string) string {
	if kind == CPU {
		return "install it with `make xla`, or put pjrt_c_api_cpu_plugin.so into a folder that PJRT_PLUGIN_LIBRARY_PATH names"
	}
	return "install it with `go run github.com/gomlx/go-xla/cmd/pjrt_installer@latest -autoinstall` (it takes the plugin of the PyPI package jax-cuda13-pjrt); it needs an NVIDIA driver"
}

// Doctor tries every backend with a matrix product, a convolution and a gradient.
func Doctor() []Diagnosis {
	var out []Diagnosis
	for _, kind := range Backends {
		d := Diagnosis{Backend: kind}
		if err := d.try(); err != nil {
			d.Detail = err.Error()
			if kind != Go {
				d.Install = installHint(kind)
			}
		} else {
			d.Works = true
		}
		out = append(out, d)
	}
	return out
}

func (d *Diagnosis) try() (err error) {
	defer Caught(&err)
	b, err := Open(d.Backend)
	if err != nil {
		return err
	}
	defer b.Finalize()
	if d.GFLOPS, err = matmulSpeed(b); err != nil {
		return fmt.Errorf("matrix product: %w", err)
	}
	if err := tryConvolution(b); err != nil {
		return fmt.Errorf("convolution and gradient: %w", err)
	}
	d.Detail = fmt.Sprintf("%s: matrix product, convolution and gradient are right", b.Description())
	if d.Backend == Go && !simd {
		d.Detail += "; this build has no vector instructions for GoMLX's matrix products, which makes training several times slower"
		d.Install = "for vector instructions take a program of a release, or build it with `GOEXPERIMENT=simd go install github.com/metaprune/metaprune/native/metaprune@latest` (Go 1.26 or newer)"
	}
	return nil
}

// matmulSpeed multiplies matrices of ones, whose product is known, and returns GFLOP/s.
func matmulSpeed(b *Backend) (float64, error) {
	const n, runs = 512, 5
	ones := make([]float32, n*n)
	for i := range ones {
		ones[i] = 1
	}
	x := tensors.FromFlatDataAndDimensions(ones, n, n)
	exec, err := NewExec(b.Backend, func(x *Node) *Node { return DotProduct(x, x) })
	if err != nil {
		return 0, Wrap(err)
	}
	best := math.Inf(1)
	for range runs {
		start := time.Now()
		out, err := exec.Call(x)
		if err != nil {
			return 0, Wrap(err)
		}
		v, err := tensors.CopyFlatData[float32](out[0])
		if err != nil {
			return 0, err
		}
		best = min(best, time.Since(start).Seconds())
		if v[0] != n || v[n*n-1] != n {
			return 0, fmt.Errorf("got %g, want %d", v[0], n)
		}
	}
	return 2 * n * n * n / best / 1e9, nil
}

// tryConvolution checks a convolution of ones and the gradient of its sum.
func tryConvolution(b *Backend) error {
	exec, err := NewExec(b.Backend, func(x, w *Node) []*Node {
		e := &env{g: x.Graph(), backend: b}
		y := e.conv(x, w, convParams{strides: []int{1, 1}, pads: [][2]int{{1, 1}, {1, 1}}, dilations: []int{1, 1}, groups: 1})
		return []*Node{y, Gradient(ReduceAllSum(y), w)[0]}
	})
	if err != nil {
		return Wrap(err)
	}
	out, err := exec.Call(tensors.FromScalarAndDimensions(float32(1), 1, 4, 4, 2), tensors.FromScalarAndDimensions(float32(1), 3, 2, 3, 3))
	if err != nil {
		return Wrap(err)
	}
	y, errY := tensors.CopyFlatData[float32](out[0])
	g, errG := tensors.CopyFlatData[float32](out[1])
	if errY != nil || errG != nil {
		return fmt.Errorf("no result: %v %v", errY, errG)
	}
	// A corner sees 4 of 9 positions of 2 channels; a corner of the kernel sees 3x3 of 4x4 positions.
	if y[0] != 8 || g[0] != 9 {
		return fmt.Errorf("got %g and %g, want 8 and 9", y[0], g[0])
	}
	return nil
}
