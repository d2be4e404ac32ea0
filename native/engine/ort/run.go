//go:build !noort && (linux || darwin || windows) && (amd64 || arm64)

package ort

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"github.com/metaprune/metaprune/onnxio"
)

// Run feeds inputs by name and returns copies of the outputs of these names, in their order; without
// names, all outputs. It ends with the context's error soon after the context ends.
func (s *Session) Run(ctx context.Context, feeds map[string]Tensor, outputs ...string) ([]Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(outputs) == 0 {
		for _, o := range s.Outputs {
			outputs = append(outputs, o.Name)
		}
	}
	r := &oneRun{session: s, library: s.library}
	defer r.free()
	if err := r.feed(feeds); err != nil {
		return nil, err
	}
	if err := r.ask(outputs); err != nil {
		return nil, err
	}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	return r.results(outputs)
}

// oneRun holds what one run allocates.
type oneRun struct {
	session             *Session
	library             *Library
	pins                runtime.Pinner
	inNames, outNames   []*byte
	inValues, outValues []uintptr // OrtValues
}

func (r *oneRun) free() {
	for _, v := range slices.Concat(r.inValues, r.outValues) {
		r.library.release(releaseValue, v)
	}
	r.pins.Unpin()
}

// feed wraps the inputs, whose memory stays where it is until the run is freed.
func (r *oneRun) feed(feeds map[string]Tensor) error {
	for _, in := range r.session.Inputs {
		t, ok := feeds[in.Name]
		if !ok {
			return fmt.Errorf("input %q has no value", in.Name)
		}
		if err := t.checked(fmt.Sprintf("input %q", in.Name)); err != nil {
			return err
		}
		v, err := r.value(t)
		if err != nil {
			return fmt.Errorf("input %q: %w", in.Name, err)
		}
		r.inValues = append(r.inValues, v)
		r.inNames = append(r.inNames, r.session.names[in.Name])
	}
	if len(feeds) > len(r.session.Inputs) {
		return fmt.Errorf("%d values for %d inputs", len(feeds), len(r.session.Inputs))
	}
	return nil
}

func (r *oneRun) value(t Tensor) (uintptr, error) {
	data, dims, to := t.Data, slices.Clone(t.Dims), new(uintptr)
	if len(data) == 0 {
		data = make([]byte, 1) // of no elements, but with an address
	}
	if len(dims) == 0 {
		dims = make([]int64, 1)
	}
	r.pins.Pin(unsafe.SliceData(data))
	l := r.library
	err := l.call(createTensorWithData, l.memory, uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(t.Data)),
		uintptr(unsafe.Pointer(unsafe.SliceData(dims))), uintptr(len(t.Dims)), uintptr(t.Type), uintptr(unsafe.Pointer(to)))
	return *to, err
}

func (r *oneRun) ask(outputs []string) error {
	for _, name := range outputs {
		chars := r.session.names[name]
		if chars == nil || !slices.ContainsFunc(r.session.Outputs, func(i Info) bool { return i.Name == name }) {
			return fmt.Errorf("the model has no output %q", name)
		}
		r.outNames = append(r.outNames, chars)
	}
	r.outValues = make([]uintptr, len(outputs))
	return nil
}

// run calls ONNX Runtime, and tells it to stop where the context ends first.
func (r *oneRun) run(ctx context.Context) error {
	l, s, to := r.library, r.session, new(uintptr)
	if err := l.call(createRunOptions, uintptr(unsafe.Pointer(to))); err != nil {
		return err
	}
	options := *to
	defer l.release(releaseRunOptions, options)
	for _, name := range slices.Concat(r.inNames, r.outNames) {
		r.pins.Pin(name)
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = l.call(runOptionsSetTerminate, options) // it cannot fail
	})
	err := l.call(run, s.object, options,
		uintptr(unsafe.Pointer(unsafe.SliceData(r.inNames))), uintptr(unsafe.Pointer(unsafe.SliceData(r.inValues))), uintptr(len(r.inNames)),
		uintptr(unsafe.Pointer(unsafe.SliceData(r.outNames))), uintptr(len(r.outNames)), uintptr(unsafe.Pointer(unsafe.SliceData(r.outValues))))
	if !stop() {
		<-ended // options are read until then
	}
	runtime.KeepAlive(s)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// results copies the outputs.
func (r *oneRun) results(outputs []string) ([]Tensor, error) {
	out := make([]Tensor, len(r.outValues))
	for i, v := range r.outValues {
		var err error
		if out[i], err = r.library.tensor(v); err != nil {
			return nil, fmt.Errorf("output %q: %w", outputs[i], err)
		}
	}
	return out, nil
}

// tensor copies an OrtValue.
func (l *Library) tensor(v uintptr) (Tensor, error) {
	var t Tensor
	if v == 0 {
		return t, errors.New("the run left it out")
	}
	is, info, data := new(int32), new(uintptr), new(uintptr)
	if err := l.call(isTensor, v, uintptr(unsafe.Pointer(is))); err != nil {
		return t, err
	}
	if *is == 0 {
		return t, &onnxio.UnsupportedError{What: "a value that is not a tensor"}
	}
	if err := l.call(getTensorTypeAndShape, v, uintptr(unsafe.Pointer(info))); err != nil {
		return t, err
	}
	var err error
	t.Type, t.Dims, err = l.shape(*info)
	l.release(releaseTensorTypeAndShapeInfo, *info)
	if err != nil {
		return t, err
	}
	size, err := (&onnxio.Tensor{Dims: t.Dims, DataType: t.Type}).ByteSize()
	if err != nil || size == 0 {
		return t, err
	}
	if err := l.call(getTensorMutableData, v, uintptr(unsafe.Pointer(data))); err != nil {
		return t, err
	}
	t.Data = slices.Clone(unsafe.Slice((*byte)(pointer(*data)), size))
	return t, nil
}
