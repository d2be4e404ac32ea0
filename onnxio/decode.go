package onnxio

import (
	"errors"
	"fmt"
)

// MaxDepth bounds the nesting of messages, as protobuf's own parsers do, so that a small file cannot exhaust the stack.
const MaxDepth = 100

// MaxProtoSize is protobuf's limit for one message.
const MaxProtoSize = 1<<31 - 1

// MaxNodes and MaxMessages bound what one file holds: an empty node takes two bytes there and some kilobytes once it is looked into. The largest language models have a tenth of it.
const (
	MaxNodes    = 1 << (20 - smaller)
	MaxMessages = 1 << (22 - smaller)
)

// decoder holds what is shared while one file is read.
type decoder struct {
	base    []byte
	depth   int
	shallow bool // leave submessages unread
	seen    int  // messages
	nodes   int
}

// offset returns where b, a part of base, begins.
func (d *decoder) offset(b []byte) int64 { return int64(cap(d.base) - cap(b)) }

// indexedError carries the position of a repeated submessage up to where the field's name is known.
type indexedError struct {
	step string
	err  error
}

func (e *indexedError) Error() string { return e.err.Error() }

func indexed(i int, m any, err error) error {
	step := fmt.Sprintf("[%d]", i)
	switch m := m.(type) {
	case *Node:
		step += fmt.Sprintf(" %q (%s)", m.Name, m.OpType)
	case *Tensor:
		step += fmt.Sprintf(" %q", m.Name)
	case *Attribute:
		step += fmt.Sprintf(" %q", m.Name)
	}
	return &indexedError{step, err}
}

// decodeMessage reads b by its schema; on an error it returns the part that was read, for the error's path.
func decodeMessage[M any](d *decoder, s *schema[M], b []byte) (*M, error) {
	m := new(M)
	any(m).(interface{ setOrigin([]byte) }).setOrigin(b)
	if d.depth++; d.depth > MaxDepth {
		return m, &FormatError{Offset: d.offset(b), Err: fmt.Errorf("messages nest deeper than %d", MaxDepth)}
	}
	defer func() { d.depth-- }()
	if err := d.count(any(m)); err != nil {
		return m, &FormatError{Offset: d.offset(b), Err: err}
	}
	return m, decodeFields(d, s, m, b)
}

// count keeps a file within MaxNodes and MaxMessages.
func (d *decoder) count(m any) error {
	d.seen++
	if _, ok := m.(*Node); ok {
		d.nodes++
	}
	switch {
	case d.nodes > MaxNodes:
		return fmt.Errorf("more than %d nodes", MaxNodes)
	case d.seen > MaxMessages:
		return fmt.Errorf("more than %d messages", MaxMessages)
	}
	return nil
}

func decodeFields[M any](d *decoder, s *schema[M], m *M, b []byte) error {
	for len(b) > 0 {
		num, v, n, err := next(b)
		if err != nil {
			return &FormatError{Offset: d.offset(b), Err: err}
		}
		if f := s.lookup(num); f != nil && !(d.shallow && f.kids != nil) {
			if err := f.load(d, m, v); err != nil {
				return fieldError(f.name, d.offset(b), err)
			}
		}
		b = b[n:]
	}
	return nil
}

// fieldError puts a field's name in front of what went wrong inside it.
func fieldError(name string, offset int64, err error) error {
	var at *indexedError
	if errors.As(err, &at) {
		name, err = name+at.step, at.err
	}
	var f *FormatError
	if !errors.As(err, &f) {
		err = &FormatError{Offset: offset, Err: err}
	}
	return within(name, err)
}

func (o *origin) setOrigin(b []byte) { o.raw = b }

// Decode reads a model from the bytes of an .onnx file. The model aliases data, which must not change while the model is in use. External tensor data
// is read from store when it is asked for; nil means that there is none.
func Decode(data []byte, store ExternalData) (*Model, error) {
	if len(data) == 0 {
		return nil, &FormatError{Offset: -1, Want: "an ONNX model", Got: "an empty file", Err: errors.New("the file is empty; download or export the model again")}
	}
	d := &decoder{base: data}
	m, err := decodeMessage(d, modelSchema, data)
	if err != nil {
		return nil, recognised(data, fmt.Errorf("not a readable ONNX model: %w", err))
	}
	if m.Graph == nil {
		return nil, recognised(data, &FormatError{Offset: -1, Err: errors.New("not a readable ONNX model: it has no graph")})
	}
	if len(m.OpsetImport) == 0 {
		return nil, &FormatError{Offset: -1, Err: errors.New("not a readable ONNX model: opset_import is missing")}
	}
	if store != nil {
		m.EachTensor(func(t *Tensor) { t.store = store })
	}
	return m, nil
}

// DecodeTensor reads a tensor of its own, as data sets beside models hold them (.pb). It aliases data.
func DecodeTensor(data []byte) (*Tensor, error) {
	t, err := decodeMessage(&decoder{base: data}, tensorSchema, data)
	if err != nil {
		return nil, fmt.Errorf("not a readable ONNX tensor: %w", err)
	}
	return t, nil
}

// EachTensor calls visit for every tensor of the model: initializers and attributes, in subgraphs and functions too.
func (m *Model) EachTensor(visit func(*Tensor)) {
	m.Graph.eachTensor(visit)
	for _, f := range m.Functions {
		eachNodeTensor(f.Nodes, visit)
	}
}

func (g *Graph) eachTensor(visit func(*Tensor)) {
	for _, t := range g.Initializers {
		visit(t)
	}
	for _, s := range g.SparseInitializers {
		s.each(visit)
	}
	eachNodeTensor(g.Nodes, visit)
}

func (s *SparseTensor) each(visit func(*Tensor)) {
	for _, t := range []*Tensor{s.Values, s.Indices} {
		if t != nil {
			visit(t)
		}
	}
}

func eachNodeTensor(nodes []*Node, visit func(*Tensor)) {
	for _, n := range nodes {
		for _, a := range n.Attributes {
			if a.T != nil {
				visit(a.T)
			}
			for _, t := range a.Tensors {
				visit(t)
			}
			if a.Sparse != nil {
				a.Sparse.each(visit)
			}
			for _, g := range a.Subgraphs() {
				g.eachTensor(visit)
			}
		}
	}
}

// Subgraphs returns the graphs that the attribute holds.
func (a *Attribute) Subgraphs() []*Graph {
	if a.G == nil {
		return a.Graphs
	}
	return append([]*Graph{a.G}, a.Graphs...)
}
