package planner

import (
	"fmt"
	"slices"
)

// Codes of warnings.
const (
	Unrepaired = "unrepaired" // channels were removed, and nothing made up for them
	ZerosOnly  = "zeros-only" // a pattern of zeros, which most runtimes multiply like any number
)

// Warning says what to expect of a model and what to do about it. Every front end shows it.
type Warning struct {
	Code    string `json:"code" since:"2"`
	Message string `json:"message" since:"2"` // what to expect
	Advice  string `json:"advice" since:"2"`  // what to do
}

// String is the warning as one sentence.
func (w Warning) String() string { return w.Message + "; " + w.Advice }

// smallCut is the speed-up, or the factor in parameters, below which a cut need not ruin a network.
const smallCut = 1.2

// NewWarnings says what to expect of the model that a plan makes. It is empty where nothing is removed, and where a repair made up for what is.
func (p *Plan) NewWarnings() []Warning {
	var out []Warning
	if len(p.Removed) > 0 && (p.Repair == "" || p.Repair == "none") {
		out = append(out, UnrepairedWarning(p.Achieved.factor()))
	}
	if i := slices.IndexFunc(p.Zeroed, func(z Zeroed) bool { return z.Pattern != "unstructured" || z.Count > 0 }); i >= 0 {
		out = append(out, ZerosWarning(p.Zeroed[i].Pattern))
	}
	return out
}

// UnrepairedWarning says what to expect of channels that were removed without more; factor is by how much multiply-accumulates or parameters fell.
func UnrepairedWarning(factor float64) Warning {
	expect := "a much lower accuracy, often near chance"
	if factor < smallCut {
		expect = "a lower accuracy"
	}
	return Warning{Unrepaired, fmt.Sprintf("expect %s: channels were removed and nothing was repaired or finetuned", expect),
		`repair it on about 100 unlabelled samples (option "calibrate DIR") or on noise (option "repair noise"), or finetune the smaller model`}
}

// ZerosWarning says what a pattern of zeros gives and what it does not.
func ZerosWarning(pattern string) Warning {
	who := "runtimes with kernels for sparse weights are"
	if pattern == "2:4" {
		who = "TensorRT on GPUs with sparse tensor cores is"
	}
	return Warning{ZerosOnly, fmt.Sprintf("expect a lower accuracy and the same size and speed: pattern %s only sets weights to zero, which makes neither the file smaller nor a dense runtime faster; only %s faster", pattern, who),
		`finetune with option "keep-zeros" for the accuracy, or remove channels with option "speed-up" for size and speed everywhere`}
}

// factor is by how much multiply-accumulates or parameters fell, whichever fell further.
func (a Achieved) factor() float64 {
	f := func(v [2]int64) float64 { return float64(v[0]) / float64(max(v[1], 1)) }
	return max(f(a.MACs), f(a.Params))
}
