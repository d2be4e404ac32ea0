package graphcodec

import (
	"sort"
)

// rule is what is known of an operator. Functions that make an infer are go:noinline where they are long, so that operators which share one also share its code (WebAssembly's size).
type rule struct {
	domain, op string
	since      int64             // first operator set version that the rule reads
	infer      func(c *call)     // shapes, contents and labels
	patch      func(p *patching) // adapts attributes and shape inputs to cut axes; nil: nothing to adapt
	note       string            // for people; nothing is decided by its words

	elementWise bool // of one input, the output has that input's shape, whatever it is
}

var registry = map[string][]rule{}

// register adds rules; it is called from init only.
func register(rules ...rule) {
	for _, r := range rules {
		key := r.domain + ":" + r.op
		registry[key] = append(registry[key], r)
	}
}

// each registers several operators of the ai.onnx domain under one rule.
func each(note string, infer func(c *call), ops ...string) {
	for _, op := range ops {
		register(rule{op: op, since: 1, infer: infer, note: note})
	}
}

// elementWise registers operators of the ai.onnx domain whose output of one input has that input's shape.
func elementWise(note string, infer func(c *call), ops ...string) {
	for _, op := range ops {
		register(rule{op: op, since: 1, infer: infer, note: note, elementWise: true})
	}
}

func lookup(domain, op string, version int64) *rule {
	if domain == "ai.onnx" {
		domain = ""
	}
	var best *rule
	rules := registry[domain+":"+op]
	for i := range rules {
		if r := &rules[i]; r.since <= version && (best == nil || r.since > best.since) {
			best = r
		}
	}
	return best
}

// OpInfo describes one entry of the operator table.
type OpInfo struct {
	Domain string `json:"domain,omitempty"`
	Op     string `json:"op"`
	Since  int64  `json:"since"`
	Rule   string `json:"rule"`
}

// Operators lists the operators that have a rule, by name.
func Operators() []OpInfo {
	var out []OpInfo
	for _, rules := range registry {
		for _, r := range rules {
			out = append(out, OpInfo{r.domain, r.op, r.since, r.note})
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Domain != b.Domain {
			return a.Domain < b.Domain
		}
		if a.Op != b.Op {
			return a.Op < b.Op
		}
		return a.Since < b.Since
	})
	return out
}
