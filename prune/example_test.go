package prune_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
)

const resnet = "../testdata/fashion-resnet20.onnx"

// Half of the MACs are removed by group L2. Nothing is repaired: package xla has the example with a repair.
func Example() {
	m, err := prune.Open(resnet)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	small, err := m.Prune(context.Background(), prune.Options{SpeedUp: 2})
	if err != nil {
		log.Fatal(err)
	}
	folder, _ := os.MkdirTemp("", "example")
	defer os.RemoveAll(folder)
	if err := small.Save(filepath.Join(folder, "small.onnx")); err != nil {
		log.Fatal(err)
	}
	a := small.Plan.Achieved
	fmt.Printf("%.2fx fewer MACs\n", float64(a.MACs[0])/float64(a.MACs[1]))
	for _, w := range small.Warnings() {
		fmt.Println(w.Message)
	}
	// Output:
	// 2.01x fewer MACs
	// expect a much lower accuracy, often near chance: channels were removed and nothing was repaired or finetuned
}

// What a model consists of, before anything is removed.
func ExampleModel_Inspect() {
	m, err := prune.Open(resnet)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	r := m.Inspect()
	fmt.Println(r.MACs, "MACs,", r.Params, "parameters,", len(r.Groups), "groups,", r.Prunable, "channels that can be removed")
	fmt.Println(r.Groups[0].Name, r.Groups[0].Units, "channels")
	// Output:
	// 31021952 MACs, 273658 parameters, 13 groups, 448 channels that can be removed
	// conv1.weight 16 channels
}

// A plan is made once and applied anywhere to the same model: it always gives the same bytes.
func ExampleModel_Plan() {
	m, err := prune.Open(resnet)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	p, err := m.Plan(context.Background(), prune.Options{Params: 0.5, Ignore: []string{"conv1*"}})
	if err != nil {
		log.Fatal(err)
	}
	m.Sign(p)
	data, err := planner.MarshalPlan(p)
	if err != nil {
		log.Fatal(err)
	}
	again, err := planner.ParsePlan(data)
	if err != nil {
		log.Fatal(err)
	}
	small, err := m.Apply(again)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(small.Graph.Nodes), "nodes")
	// Output:
	// 75 nodes
}

// Models in memory: from a request, or in a browser.
func ExampleRead() {
	data, err := os.ReadFile(resnet)
	if err != nil {
		log.Fatal(err)
	}
	m, err := prune.Read(data, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	_, err = m.Prune(context.Background(), prune.Options{SpeedUp: 1e9})
	fmt.Println(err)
	// Output:
	// the target speed-up 1e+09 cannot be reached; the most that can be removed gives 493.375
}
