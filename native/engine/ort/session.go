//go:build !noort && (linux || darwin || windows) && (amd64 || arm64)

package ort

import (
	"cmp"
	"errors"
	"runtime"
	"unsafe"

	"github.com/metaprune/metaprune/onnxio"
)

// Session is a model that ONNX Runtime has prepared.
type Session struct {
	Inputs, Outputs []Info
	library         *Library
	object          uintptr
	names           map[string]*byte
}

// NewSession prepares a model from the bytes of an .onnx file, which are not needed afterwards.
func (l *Library) NewSession(model []byte, o Options) (*Session, error) {
	if len(model) == 0 {
		return nil, &onnxio.FormatError{Path: "model", Offset: -1, Err: errors.New("no bytes")}
	}
	return l.session(o, func(options uintptr, to *uintptr) error {
		return l.call(createSessionFromArray, l.env, uintptr(unsafe.Pointer(unsafe.SliceData(model))), uintptr(len(model)), options, uintptr(unsafe.Pointer(to)))
	})
}

// OpenSession prepares the model in a file; its external data is in the same folder.
func (l *Library) OpenSession(path string, o Options) (*Session, error) {
	return l.session(o, func(options uintptr, to *uintptr) error {
		chars, err := pathChars(path)
		if err != nil {
			return err
		}
		return l.call(createSession, l.env, uintptr(chars), options, uintptr(unsafe.Pointer(to)))
	})
}

func (l *Library) session(o Options, create func(options uintptr, to *uintptr) error) (*Session, error) {
	options, err := l.sessionOptions(o)
	defer func() { l.release(releaseSessionOptions, options) }()
	if err != nil {
		return nil, err
	}
	s := &Session{library: l, names: map[string]*byte{}}
	if err := create(options, &s.object); err != nil {
		return nil, err
	}
	if err := s.describe(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (l *Library) sessionOptions(o Options) (options uintptr, err error) {
	to := new(uintptr)
	if err := l.call(createSessionOptions, uintptr(unsafe.Pointer(to))); err != nil {
		return 0, err
	}
	options = *to
	errs := []error{
		l.call(setIntraOpNumThreads, options, uintptr(cmp.Or(o.Threads, runtime.GOMAXPROCS(0)))),
		l.call(setSessionGraphOptimizationLevel, options, o.Optimization.level()),
	}
	entry := func(key, value string) {
		k, v := cString(key), cString(value)
		errs = append(errs, l.call(addSessionConfigEntry, options, uintptr(unsafe.Pointer(k)), uintptr(unsafe.Pointer(v))))
	}
	if !o.Spinning {
		entry("session.intra_op.allow_spinning", "0")
	}
	if o.Folder != "" {
		entry("session.model_external_initializers_file_folder_path", o.Folder)
	}
	return options, errors.Join(errs...)
}

// Close frees the session.
func (s *Session) Close() {
	s.library.release(releaseSession, s.object)
	s.object = 0
}

// describe reads the inputs and outputs.
func (s *Session) describe() error {
	var err error
	if s.Inputs, err = s.infos(sessionGetInputCount, sessionGetInputName, sessionGetInputTypeInfo); err != nil {
		return err
	}
	if s.Outputs, err = s.infos(sessionGetOutputCount, sessionGetOutputName, sessionGetOutputTypeInfo); err != nil {
		return err
	}
	for _, infos := range [][]Info{s.Inputs, s.Outputs} {
		for _, i := range infos {
			s.names[i.Name] = cString(i.Name)
		}
	}
	return nil
}

func (s *Session) infos(count, name, kind int) ([]Info, error) {
	n := new(uintptr)
	if err := s.library.call(count, s.object, uintptr(unsafe.Pointer(n))); err != nil {
		return nil, err
	}
	infos := make([]Info, *n)
	for i := range infos {
		var err error
		if infos[i], err = s.info(i, name, kind); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// info reads the name and the type of one input or output.
func (s *Session) info(i, name, kind int) (Info, error) {
	var info Info
	l, chars, typ, tensor := s.library, new(uintptr), new(uintptr), new(uintptr)
	if err := l.call(name, s.object, uintptr(i), l.allocator, uintptr(unsafe.Pointer(chars))); err != nil {
		return info, err
	}
	info.Name = goString(*chars)
	if err := l.call(allocatorFree, l.allocator, *chars); err != nil {
		return info, err
	}
	if err := l.call(kind, s.object, uintptr(i), uintptr(unsafe.Pointer(typ))); err != nil {
		return info, err
	}
	defer l.release(releaseTypeInfo, *typ)
	if err := l.call(castTypeInfoToTensorInfo, *typ, uintptr(unsafe.Pointer(tensor))); err != nil {
		return info, err
	}
	if *tensor == 0 { // a sequence, a map or an optional value
		return info, nil
	}
	var err error
	info.Type, info.Dims, err = l.shape(*tensor)
	return info, err
}

// shape reads an OrtTensorTypeAndShapeInfo.
func (l *Library) shape(info uintptr) (onnxio.DataType, []int64, error) {
	kind, rank := new(int32), new(uintptr)
	if err := l.call(getTensorElementType, info, uintptr(unsafe.Pointer(kind))); err != nil {
		return 0, nil, err
	}
	if err := l.call(getDimensionsCount, info, uintptr(unsafe.Pointer(rank))); err != nil {
		return 0, nil, err
	}
	dims := make([]int64, *rank)
	if len(dims) == 0 {
		return onnxio.DataType(*kind), dims, nil
	}
	err := l.call(getDimensions, info, uintptr(unsafe.Pointer(unsafe.SliceData(dims))), *rank)
	return onnxio.DataType(*kind), dims, err
}
