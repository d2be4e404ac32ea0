package samples

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/calib"
)

// norm is how pixels become numbers: (pixel * scale - mean) / std.
type norm struct {
	scale     float32
	mean, std []float32
	why       string // a sentence for people
}

// What pictures are usually normalised with: ImageNet's, and Fashion-MNIST's for one channel.
var (
	imageNet = [2][]float64{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}
	oneGray  = [2][]float64{{0.2860}, {0.3530}}
)

// normalisation is what the options say, else what the model's first operators say.
func (o *Options) normalisation(in calib.Input, channels int) (*norm, error) {
	switch {
	case o.Mean != nil || o.Std != nil:
		return normOf(1./255, o.Mean, o.Std, channels, `by option "mean" and option "std"`)
	case in.Type != onnxio.Float:
		return normOf(1, nil, nil, channels, "pixels are 0 to 255, since the model takes integers")
	case o.ultralytics() != "":
		return normOf(1./255, nil, nil, channels, "pixels are 0 to 1, as Ultralytics' models take them")
	}
	switch o.firstOperators(in.Name) {
	case inBytes:
		return normOf(1, nil, nil, channels, "pixels are 0 to 255, since the model's first operators scale them")
	case inShares:
		return normOf(1./255, nil, nil, channels, "pixels are 0 to 1, since the model's first operators normalise them")
	}
	usual, whose := imageNet, "ImageNet"
	if channels == 1 {
		usual, whose = oneGray, "Fashion-MNIST"
	}
	return normOf(1./255, usual[0], usual[1], channels, "normalised with the mean and std of "+whose+`, since the model does not say how (option "mean", option "std")`)
}

func normOf(scale float32, mean, std []float64, channels int, why string) (*norm, error) {
	n := &norm{scale: scale, why: why}
	for _, p := range []struct {
		flag  string
		given []float64
		usual float64
		to    *[]float32
	}{{`option "mean"`, mean, 0, &n.mean}, {`option "std"`, std, 1, &n.std}} {
		if p.given == nil {
			p.given = []float64{p.usual}
		}
		if len(p.given) != 1 && len(p.given) != channels {
			return nil, &calib.SampleError{File: p.flag, Want: fmt.Sprintf("1 or %d numbers", channels), Got: fmt.Sprint(len(p.given)), Do: "give one number, or one per channel"}
		}
		for c := range channels {
			v := p.given[min(c, len(p.given)-1)]
			if p.usual == 1 && v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, &calib.SampleError{File: p.flag, Want: "numbers to divide by", Got: fmt.Sprint(v), Do: "give the standard deviation of each channel"}
			}
			*p.to = append(*p.to, float32(v))
		}
	}
	return n, nil
}

// ultralytics is the task of a model by Ultralytics, by its metadata; empty for others.
func (o *Options) ultralytics() string {
	if o.Model == nil {
		return ""
	}
	author, task := "", "detect"
	for _, m := range o.Model.Metadata {
		switch m.Key {
		case "author":
			author = m.Value
		case "task":
			task = m.Value
		}
	}
	if author != "Ultralytics" {
		return ""
	}
	return task
}

// resize is the way in which pictures are brought to their size.
func (o *Options) resize() string {
	if o.Resize != "" {
		return o.Resize
	}
	if task := o.ultralytics(); task != "" && task != "classify" {
		return "letterbox"
	}
	return "crop"
}

// How the numbers that a model takes look like.
const (
	inUnknown = iota
	inBytes   // 0 to 255
	inShares  // 0 to 1
)

// firstOperators follows the only reader of an input up to the first operator that normalises.
func (o *Options) firstOperators(input string) int {
	if o.Model == nil || o.Model.Graph == nil {
		return inUnknown
	}
	g := o.Model.Graph
	constants := map[string]*onnxio.Tensor{}
	for _, t := range g.Initializers {
		constants[t.Name] = t
	}
	for _, n := range g.Nodes {
		if t := onnxio.ConstantOf(n); t != nil && len(n.Outputs) > 0 {
			constants[n.Outputs[0]] = t
		}
	}
	at := input
	for range 8 {
		i := slices.IndexFunc(g.Nodes, func(n *onnxio.Node) bool { return slices.Contains(n.Inputs, at) })
		if i < 0 || len(g.Nodes[i].Outputs) == 0 {
			return inUnknown
		}
		n := g.Nodes[i]
		if kind, known := judged(n, at, constants); known {
			return kind
		}
		at = n.Outputs[0]
	}
	return inUnknown
}

// judged says what an operator that reads pixels expects; known is false where the next one decides.
func judged(n *onnxio.Node, at string, constants map[string]*onnxio.Tensor) (kind int, known bool) {
	switch n.OpType {
	case "Cast", "Identity", "Transpose", "Pad", "Resize", "Unsqueeze", "Reshape":
		return 0, false
	case "Sub", "Add", "Div", "Mul":
		return arithmetic(n, at, constants), true
	case "BatchNormalization":
		if len(n.Inputs) < 5 {
			return inUnknown, true
		}
		mean, _ := floats(constants[n.Inputs[3]])
		variance, ok := floats(constants[n.Inputs[4]])
		switch {
		case !ok || len(mean) == 0:
			return inUnknown, true
		case slices.Max(mean) > 5:
			return inBytes, true
		case slices.Min(mean) > .15 && slices.Max(mean) < .85 && slices.Max(variance) < .25:
			return inShares, true
		}
	}
	return inUnknown, true
}

// arithmetic says what a subtraction of a mean or a division by a deviation expects.
func arithmetic(n *onnxio.Node, at string, constants map[string]*onnxio.Tensor) int {
	for _, name := range n.Inputs {
		v, ok := floats(constants[name])
		if name == at || !ok || len(v) == 0 || len(v) > 3 {
			continue
		}
		largest := 0.0
		for _, x := range v {
			largest = max(largest, math.Abs(x))
		}
		switch {
		case n.OpType == "Div" && largest > 10, n.OpType == "Mul" && largest < .1, strings.Contains("Sub Add", n.OpType) && largest > 2:
			return inBytes
		case largest > 0:
			return inShares
		}
	}
	return inUnknown
}

// floats are the numbers of a small constant.
func floats(t *onnxio.Tensor) ([]float64, bool) {
	if t == nil {
		return nil, false
	}
	if n, err := t.NumElements(); err != nil || n > 1<<12 {
		return nil, false
	}
	v, err := t.Float64s()
	return v, err == nil
}
