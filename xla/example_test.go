package xla_test

import (
	"context"
	"fmt"
	"log"

	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/xla"
)

// A pruned model is repaired without labels: here on noise, which needs no data. With samples of your own, give Samples in the place of Noise.
func ExampleOpenEngine() {
	m, err := prune.Open("../testdata/fashion-resnet20.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	engine, err := xla.OpenEngine("go", m.ONNX)
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	small, err := m.Prune(context.Background(), prune.Options{SpeedUp: 2, Calibration: &prune.Calibration{Engine: engine, Noise: map[string][]int{"image": {1, 28, 28}}}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(small.Repair.Method, small.Repair.After.Cosine > small.Repair.Before.Cosine+0.2)
	verdict, err := small.Verify(context.Background(), engine)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict.Verdict)
	// Output:
	// solve true
	// equal
}
