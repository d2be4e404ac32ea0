//go:build !noort && (linux || darwin || windows) && (amd64 || arm64)

package ort

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// supported says whether this build can load the library.
const supported = true

// entryPoint is the library's only function that is found by name.
const entryPoint = "OrtGetApiBase"

// Places in the table OrtApi of onnxruntime_c_api.h. The table only grows: a place keeps its function.
// All are in version 1 of the table but addSessionConfigEntry, which is in version 6.
const (
	getErrorCode                     = 1
	getErrorMessage                  = 2
	createEnv                        = 3
	createSession                    = 7
	createSessionFromArray           = 8
	run                              = 9
	createSessionOptions             = 10
	setSessionGraphOptimizationLevel = 23
	setIntraOpNumThreads             = 24
	sessionGetInputCount             = 30
	sessionGetOutputCount            = 31
	sessionGetInputTypeInfo          = 33
	sessionGetOutputTypeInfo         = 34
	sessionGetInputName              = 36
	sessionGetOutputName             = 37
	createRunOptions                 = 39
	runOptionsSetTerminate           = 46
	createTensorWithData             = 49
	isTensor                         = 50
	getTensorMutableData             = 51
	castTypeInfoToTensorInfo         = 55
	getTensorElementType             = 60
	getDimensionsCount               = 61
	getDimensions                    = 62
	getTensorTypeAndShape            = 65
	createCPUMemoryInfo              = 69
	allocatorFree                    = 76
	getAllocatorWithDefaultOptions   = 78
	releaseStatus                    = 93
	releaseSession                   = 95
	releaseValue                     = 96
	releaseRunOptions                = 97
	releaseTypeInfo                  = 98
	releaseTensorTypeAndShapeInfo    = 99
	releaseSessionOptions            = 100
	addSessionConfigEntry            = 130
	tableSize                        = addSessionConfigEntry + 1
)

// apiVersion is the version of the table that is asked for, which ONNX Runtime 1.8 and later have.
const apiVersion = 8

// logFatal is the severity of what ONNX Runtime prints: nothing that is also returned as an error.
const logFatal = 4

// Library is ONNX Runtime in this process. It is never unloaded.
type Library struct {
	Path, Version string
	table         []uintptr
	env           uintptr
	memory        uintptr
	allocator     uintptr
}

// Load loads the library at a path. A [LoadError] says why it cannot be used.
func Load(path string) (*Library, error) {
	l := &Library{Path: path}
	if err := l.load(); err != nil {
		return nil, &LoadError{Path: path, Version: l.Version, Err: err}
	}
	return l, nil
}

func (l *Library) load() error {
	entry, err := open(l.Path)
	if err != nil {
		return fmt.Errorf("cannot be loaded: %w", err)
	}
	base, _, _ := purego.SyscallN(entry)
	if base == 0 {
		return errors.New(entryPoint + " returned nothing")
	}
	functions := unsafe.Slice((*uintptr)(pointer(base)), 2) // GetApi, GetVersionString
	version, _, _ := purego.SyscallN(functions[1])
	l.Version = goString(version)
	if err := versionProblem(l.Version); err != nil {
		return err
	}
	table, _, _ := purego.SyscallN(functions[0], apiVersion)
	if table == 0 {
		return fmt.Errorf("does not offer version %d of its interface; want ONNX Runtime 1.20 or later", apiVersion)
	}
	l.table = unsafe.Slice((*uintptr)(pointer(table)), tableSize)
	return l.start()
}

// versionProblem says why a version cannot be used: GetApi prints for versions that it does not know, so
// the version is looked at first.
func versionProblem(version string) error {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	m, errMajor := strconv.Atoi(major)
	n, errMinor := strconv.Atoi(minor)
	switch {
	case errMajor != nil || errMinor != nil:
		return fmt.Errorf("has an unknown version %q; want ONNX Runtime 1.8 or later", version)
	case m < 1 || m == 1 && n < apiVersion:
		return errors.New("too old; want ONNX Runtime 1.8 or later")
	case m > 1:
		return errors.New("too new; want ONNX Runtime 1.x")
	}
	return nil
}

// start makes what all sessions share.
func (l *Library) start() error {
	name := cString("metaprune")
	if err := l.call(createEnv, logFatal, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&l.env))); err != nil {
		return err
	}
	const deviceAllocator, defaultMemory = 0, 0
	if err := l.call(createCPUMemoryInfo, deviceAllocator, defaultMemory, uintptr(unsafe.Pointer(&l.memory))); err != nil {
		return err
	}
	return l.call(getAllocatorWithDefaultOptions, uintptr(unsafe.Pointer(&l.allocator)))
}

// call calls a function of the table that returns a status. Go memory that args point to is kept where it
// is until call returns, if it is converted to uintptr in the call itself.
//
//go:uintptrescapes
func (l *Library) call(f int, args ...uintptr) error {
	status, _, _ := purego.SyscallN(l.table[f], args...)
	if status == 0 {
		return nil
	}
	code, _, _ := purego.SyscallN(l.table[getErrorCode], status)
	message, _, _ := purego.SyscallN(l.table[getErrorMessage], status)
	line, _, _ := strings.Cut(strings.TrimSpace(goString(message)), "\n")
	err := &RunError{Code: int(int32(code)), Message: line}
	purego.SyscallN(l.table[releaseStatus], status)
	return err
}

// release frees an object with a function of the table.
func (l *Library) release(f int, object uintptr) {
	if object != 0 {
		purego.SyscallN(l.table[f], object)
	}
}

// pointer is the pointer to memory of the library at an address.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// goString copies a string of C.
func goString(address uintptr) string {
	if address == 0 {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(pointer(address), n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(pointer(address)), n))
}

// cString is a string as C takes it.
func cString(s string) *byte { return &append([]byte(s), 0)[0] }
