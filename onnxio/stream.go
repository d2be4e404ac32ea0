package onnxio

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// The messages that a stream is looked into.
const (
	inModel = iota
	inGraph
	inTensor
)

// fields that lead to the elements, by the message that contains them.
var streamedFields = [...]protowire.Number{inModel: 7, inGraph: 5, inTensor: 9}

// ReadRange returns length bytes of a stored file from offset on. They must stay as they are.
type ReadRange func(offset, length int64) ([]byte, error)

// TooLargeError says that a stream holds more than may be kept of it.
type TooLargeError struct {
	What        string
	Size, Limit int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s: %d bytes, want at most %d", e.What, e.Size, e.Limit)
}

// StreamLimits are sizes in bytes.
type StreamLimits struct {
	Part   int64 // raw elements of so many bytes and more stay in the file
	Tensor int64 // the most that one tensor may have, since it is read as a whole
	Kept   int64 // the most that all the rest may have
}

// DecodeStream reads a model from the size bytes of r, once from front to end, without keeping the raw elements of larger initializers: those are read again, tensor by tensor, when they are asked for or the model is written. The
// elements have to be in the file. It fails with a TooLargeError where the limits do not suffice.
func DecodeStream(r io.Reader, size int64, read ReadRange, limits StreamLimits) (*Model, error) {
	return decodeStream(&readerFeed{r: r, buffer: make([]byte, feedSize)}, size, read, limits)
}

// DecodeParts is DecodeStream for a file that is not read where nothing is kept of it.
func DecodeParts(size int64, read ReadRange, limits StreamLimits) (*Model, error) {
	return decodeStream(&rangeFeed{read: read, size: size}, size, read, limits)
}

func decodeStream(f feed, size int64, read ReadRange, limits StreamLimits) (*Model, error) {
	head := &headFeed{feed: f}
	s := &streamer{feed: head, limits: limits, parts: map[int]*part{}}
	kept, err := s.message(inModel, size)
	var large *TooLargeError
	if errors.As(err, &large) {
		return nil, err
	}
	if err != nil {
		return nil, recognised(head.head, fmt.Errorf("not a readable ONNX model: %w", err))
	}
	if err := s.fill(); err == nil {
		return nil, &FormatError{Offset: size, Err: errors.New("the stream is longer than declared")}
	}
	m, err := Decode(kept, nil)
	if err != nil {
		return nil, err
	}
	for i, p := range s.parts {
		if i >= len(m.Graph.Initializers) {
			return nil, &FormatError{Offset: p.offset, Err: errors.New("initializers of several graphs")}
		}
		if t := m.Graph.Initializers[i]; !t.IsExternal() {
			p.read = read
			t.SetLazy(p)
		}
	}
	return m, nil
}

// feed gives a file from front to end.
type feed interface {
	// more returns the next bytes, at least one, valid until the next call; io.EOF after the last.
	more() ([]byte, error)
	// pass goes past n bytes that were not given.
	pass(n int64) error
}

// headFeed keeps the beginning of a file, which tells what it is.
type headFeed struct {
	feed
	head []byte
}

func (f *headFeed) more() ([]byte, error) {
	b, err := f.feed.more()
	if f.head == nil && len(b) > 0 {
		f.head = append([]byte(nil), b[:min(len(b), 4096)]...)
	}
	return b, err
}

// feedSize is how much is read at a time.
const feedSize = 1 << 16

type readerFeed struct {
	r      io.Reader
	buffer []byte
}

func (f *readerFeed) more() ([]byte, error) {
	for {
		n, err := f.r.Read(f.buffer)
		if n > 0 {
			return f.buffer[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (f *readerFeed) pass(n int64) error {
	_, err := io.CopyN(io.Discard, f.r, n)
	return err
}

type rangeFeed struct {
	read     ReadRange
	at, size int64
}

func (f *rangeFeed) more() ([]byte, error) {
	n := min(feedSize, f.size-f.at)
	if n <= 0 {
		return nil, io.EOF
	}
	b, err := f.read(f.at, n)
	if err == nil && int64(len(b)) != n {
		err = io.ErrUnexpectedEOF
	}
	f.at += n
	return b, err
}

func (f *rangeFeed) pass(n int64) error {
	f.at += n
	return nil
}

// part is raw elements that stay in the stored file.
type part struct {
	offset, length int64
	read           ReadRange
}

// Size returns the number of bytes.
func (p *part) Size() int64 { return p.length }

// load reads the bytes.
func (p *part) load() ([]byte, error) {
	b, err := p.read(p.offset, p.length)
	if err == nil && int64(len(b)) != p.length {
		err = fmt.Errorf("%d of %d bytes at %d came: %w", len(b), p.length, p.offset, io.ErrUnexpectedEOF)
	}
	return b, err
}

// WriteTo writes the bytes.
func (p *part) WriteTo(w io.Writer) (int64, error) {
	b, err := p.load()
	if err != nil {
		return 0, err
	}
	n, err := w.Write(b)
	return int64(n), err
}

// streamer copies a file without its larger raw elements.
type streamer struct {
	feed   feed
	window []byte // was given and is not used yet
	at     int64
	kept   int64
	limits StreamLimits
	graphs int
	tensor int           // the initializer's number, from 1
	parts  map[int]*part // by the initializer's number, from 0
}

func (s *streamer) fail(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("protobuf data ends early")
	}
	var large *TooLargeError
	if errors.As(err, &large) {
		return err
	}
	return &FormatError{Offset: s.at, Err: err}
}

// fill sees to it that the window holds something.
func (s *streamer) fill() (err error) {
	if len(s.window) == 0 {
		s.window, err = s.feed.more()
	}
	return err
}

// varint reads a number and returns its length, too.
func (s *streamer) varint() (v uint64, n int, err error) {
	for shift := 0; shift < 64; shift += 7 {
		if err := s.fill(); err != nil {
			return 0, n, err
		}
		b := s.window[0]
		s.window = s.window[1:]
		n++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, n, nil
		}
	}
	return 0, n, errors.New("a number of more than ten bytes")
}

// message reads size bytes and returns what is kept of them.
func (s *streamer) message(level int, size int64) ([]byte, error) {
	var out []byte
	for end := s.at + size; s.at < end; {
		tag, n, err := s.varint()
		if err != nil {
			return nil, s.fail(err)
		}
		num, typ := protowire.DecodeTag(tag)
		s.at += int64(n)
		out = protowire.AppendVarint(out, tag)
		if out, err = s.field(out, level, num, typ, end); err != nil {
			return nil, err
		}
		if s.at > end {
			return nil, s.fail(errors.New("a field is longer than the message that contains it"))
		}
	}
	return out, nil
}

// field adds what is kept of a field behind its tag.
func (s *streamer) field(out []byte, level int, num protowire.Number, typ protowire.Type, end int64) ([]byte, error) {
	switch typ {
	case protowire.VarintType:
		v, n, err := s.varint()
		if err != nil {
			return nil, s.fail(err)
		}
		s.at += int64(n)
		return protowire.AppendVarint(out, v), s.keep(int64(n))
	case protowire.Fixed32Type:
		return s.copied(out, 4)
	case protowire.Fixed64Type:
		return s.copied(out, 8)
	case protowire.BytesType:
	default:
		return nil, s.fail(fmt.Errorf("field %d has wire type %d, which is not read from a stream", num, typ))
	}
	v, n, err := s.varint()
	if err != nil {
		return nil, s.fail(err)
	}
	s.at += int64(n)
	length := int64(v)
	if length < 0 || length > end-s.at {
		return nil, s.fail(fmt.Errorf("field %d of %d bytes is longer than the message that contains it", num, v))
	}
	if num != streamedFields[level] {
		return s.copied(protowire.AppendVarint(out, v), length)
	}
	return s.led(out, level, length)
}

// led reads a graph, an initializer or its raw elements.
func (s *streamer) led(out []byte, level int, length int64) ([]byte, error) {
	switch level {
	case inModel:
		if s.graphs++; s.graphs > 1 {
			return nil, s.fail(errors.New("a second graph"))
		}
	case inGraph:
		s.tensor++
	case inTensor:
		delete(s.parts, s.tensor-1)
		if length < s.limits.Part {
			return s.copied(protowire.AppendVarint(out, uint64(length)), length)
		}
		if length > s.limits.Tensor {
			return nil, s.fail(&TooLargeError{fmt.Sprintf("initializer %d", s.tensor-1), length, s.limits.Tensor})
		}
		s.parts[s.tensor-1] = &part{offset: s.at, length: length}
		if err := s.skip(length); err != nil {
			return nil, s.fail(err)
		}
		s.at += length
		return append(out, 0), nil
	}
	inner, err := s.message(level+1, length)
	if err != nil {
		return nil, err
	}
	return append(protowire.AppendVarint(out, uint64(len(inner))), inner...), nil
}

// skip goes past n bytes.
func (s *streamer) skip(n int64) error {
	near := min(n, int64(len(s.window)))
	s.window = s.window[near:]
	if near == n {
		return nil
	}
	return s.feed.pass(n - near)
}

// keep counts bytes that are kept.
func (s *streamer) keep(n int64) error {
	if s.kept += n; s.kept > s.limits.Kept {
		return s.fail(&TooLargeError{"the model without its larger tensors", s.kept, s.limits.Kept})
	}
	return nil
}

func (s *streamer) copied(out []byte, n int64) ([]byte, error) {
	if err := s.keep(n); err != nil {
		return nil, err
	}
	for left := n; left > 0; {
		if err := s.fill(); err != nil {
			return nil, s.fail(err)
		}
		some := min(left, int64(len(s.window)))
		out, s.window = append(out, s.window[:some]...), s.window[some:]
		left -= some
	}
	s.at += n
	return out, nil
}
