package engines

import (
	"context"
	"fmt"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/xla"
)

// Doctor tries ONNX Runtime with a matrix product, and then each backend of GoMLX.
func Doctor(ctx context.Context) []xla.Diagnosis {
	return append([]xla.Diagnosis{doctorORT(ctx)}, xla.Doctor()...)
}

func doctorORT(ctx context.Context) xla.Diagnosis {
	d := xla.Diagnosis{Backend: ORT}
	l, err := ort.Find()
	if err == nil {
		d.GFLOPS, err = ort.NewEngine(l, ort.Options{}).Speed(ctx)
	}
	if err != nil {
		d.Detail, d.Install = err.Error(), "pip install onnxruntime"
		return d
	}
	d.Works, d.Detail = true, fmt.Sprintf("ONNX Runtime %s (%s): a matrix product is right; no training", l.Version, l.Path)
	return d
}
