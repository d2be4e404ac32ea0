package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Bounds of a header. The reference takes 100 MB; 16 MiB are more than 100,000 tensors, and decoding it takes a small multiple of that.
const (
	maxHeader = 16 << 20
	maxRank   = 256
)

var dtypeSize = map[string]int{"F32": 4, "F64": 8, "I32": 4}

// span is where the data of a tensor lies in the buffer.
type span struct {
	name     string
	from, to int64
}

// ParseSafetensors reads a file; its tensors alias data. As the format demands, the tensors have to cover the buffer from its first byte to its last without a gap and without an overlap, so that
// the tensors together are no larger than the file.
func Parse(data []byte) (*File, error) {
	if len(data) < 8 {
		return nil, &FormatError{"shorter than 8 bytes"}
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader || n > uint64(len(data)-8) {
		return nil, &FormatError{fmt.Sprintf("a header of %d bytes in a file of %d bytes; want at most %d", n, len(data), min(maxHeader, len(data)-8))}
	}
	head, body := data[8:8+n], data[8+n:]
	f := &File{Metadata: map[string]string{}, Tensors: map[string]*Tensor{}}
	var spans []span
	err := eachField(head, func(name string, value *json.Decoder) error {
		if name == "__metadata__" {
			return f.metadata(value)
		}
		t, at, err := parseEntry(value, body)
		at.name = name
		f.Tensors[name], spans = t, append(spans, at)
		return err
	})
	if err != nil {
		return nil, &FormatError{"header: " + err.Error()}
	}
	if err := covers(spans, int64(len(body))); err != nil {
		return nil, err
	}
	return f, nil
}

// eachField calls do for the fields of a JSON object, in their order; do has to decode the value. A field that is there twice is an error, and so is anything but white space after the object.
func eachField(text []byte, do func(name string, value *json.Decoder) error) error {
	if len(text) == 0 || text[0] != '{' {
		return errors.New("want an object that starts with {")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name := t.(string) // the decoder takes nothing else for a key
		if seen[name] {
			return fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		if err := do(name, d); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if rest := bytes.TrimSpace(text[d.InputOffset():]); len(rest) > 0 {
		return fmt.Errorf("%d bytes after the JSON object", len(rest))
	}
	return nil
}

// field decodes a value, which may not be null.
func field[T any](value *json.Decoder, to *T) error {
	var v *T
	if err := value.Decode(&v); err != nil {
		return err
	}
	if v == nil {
		return errors.New("null")
	}
	*to = *v
	return nil
}

func (f *File) metadata(value *json.Decoder) error {
	var raw json.RawMessage
	if err := value.Decode(&raw); err != nil {
		return err
	}
	return eachField(raw, func(name string, value *json.Decoder) error {
		var s string
		err := field(value, &s)
		f.Metadata[name] = s
		return err
	})
}

func parseEntry(value *json.Decoder, body []byte) (*Tensor, span, error) {
	var raw json.RawMessage
	if err := value.Decode(&raw); err != nil {
		return nil, span{}, err
	}
	t, offsets := &Tensor{}, []int64(nil)
	err := eachField(raw, func(name string, value *json.Decoder) error {
		switch name {
		case "dtype":
			return field(value, &t.DType)
		case "shape":
			return field(value, &t.Shape)
		case "data_offsets":
			return field(value, &offsets)
		}
		return errors.New("want dtype, shape and data_offsets and nothing else")
	})
	if err != nil {
		return nil, span{}, err
	}
	if t.Shape == nil || len(offsets) != 2 {
		return nil, span{}, errors.New("want a shape and two data_offsets")
	}
	total, err := byteSize(t)
	if err != nil {
		return nil, span{}, err
	}
	from, to := offsets[0], offsets[1]
	if from < 0 || to < from || to > int64(len(body)) || to-from != total {
		return nil, span{}, fmt.Errorf("data offsets %v do not fit shape %v of %s in %d bytes", offsets, t.Shape, t.DType, len(body))
	}
	t.Shape, t.Data = slices.Clip(t.Shape), body[from:to]
	return t, span{from: from, to: to}, nil
}

// byteSize is the size that a tensor's shape gives.
func byteSize(t *Tensor) (int64, error) {
	size, ok := dtypeSize[t.DType]
	if !ok {
		return 0, fmt.Errorf("element type %q is not supported", t.DType)
	}
	if len(t.Shape) > maxRank {
		return 0, fmt.Errorf("%d dimensions; want at most %d", len(t.Shape), maxRank)
	}
	total := int64(size)
	for _, d := range t.Shape {
		if d < 0 || (d > 0 && total > math.MaxInt64/int64(d)) {
			return 0, fmt.Errorf("shape %v", t.Shape)
		}
		total *= int64(d)
	}
	return total, nil
}

// covers checks that tensors follow one another from the first byte of the buffer to its last.
func covers(spans []span, size int64) error {
	sort.Slice(spans, func(i, j int) bool {
		x, y := spans[i], spans[j]
		return cmp.Or(cmp.Compare(x.from, y.from), cmp.Compare(x.to, y.to), cmp.Compare(x.name, y.name)) < 0
	})
	at, before := int64(0), "the start of the buffer"
	for _, s := range spans {
		if s.from != at {
			what := "a gap"
			if s.from < at {
				what = "an overlap"
			}
			return &FormatError{fmt.Sprintf("tensor %q starts at byte %d, %s ends at byte %d; there may be no gap and no overlap (this is %s)", s.name, s.from, before, at, what)}
		}
		at, before = s.to, fmt.Sprintf("tensor %q", s.name)
	}
	if at != size {
		return &FormatError{fmt.Sprintf("the tensors cover %d of the %d bytes after the header", at, size)}
	}
	return nil
}
