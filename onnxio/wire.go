package onnxio

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// payload is one occurrence of a field: num holds varints and fixed numbers, data holds length-delimited contents.
type payload struct {
	typ  protowire.Type
	num  uint64
	data []byte
}

// field describes one field of message M. Fields that hold messages have kids, the others same and put.
type field[M any] struct {
	num  protowire.Number
	name string
	load func(d *decoder, m *M, v payload) error
	same func(a, b *M) bool
	put  func(out *rope, m *M)
	kids func(m *M) []message
}

// message is a decoded submessage.
type message interface {
	wire() []byte
	encodeTo(out *rope)
}

func (o *origin) wire() []byte { return o.raw }

// schema holds the known fields of a message by number; the others pass through unread.
type schema[M any] struct {
	fields []field[M]
	byNum  [64]int8 // index+1 into fields
}

func newSchema[M any](fields ...field[M]) *schema[M] {
	s := &schema[M]{fields: fields}
	for i, f := range fields {
		s.byNum[f.num] = int8(i + 1)
	}
	return s
}

func (s *schema[M]) lookup(num protowire.Number) *field[M] {
	if num <= 0 || int(num) >= len(s.byNum) || s.byNum[num] == 0 {
		return nil
	}
	return &s.fields[s.byNum[num]-1]
}

// next reads one field from the front of b and returns its number, its payload and its length with tag.
func next(b []byte) (protowire.Number, payload, int, error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return 0, payload{}, 0, errors.New("damaged protobuf tag")
	}
	v := payload{typ: typ}
	var m int
	switch typ {
	case protowire.VarintType:
		v.num, m = protowire.ConsumeVarint(b[n:])
	case protowire.Fixed32Type:
		var u uint32
		u, m = protowire.ConsumeFixed32(b[n:])
		v.num = uint64(u)
	case protowire.Fixed64Type:
		v.num, m = protowire.ConsumeFixed64(b[n:])
	case protowire.BytesType:
		v.data, m = protowire.ConsumeBytes(b[n:])
	default:
		m = protowire.ConsumeFieldValue(num, typ, b[n:])
	}
	if m < 0 {
		return num, payload{}, 0, fmt.Errorf("field %d: protobuf data ends early or is damaged", num)
	}
	return num, v, n + m, nil
}

func (v payload) want(typ protowire.Type) error {
	if v.typ != typ {
		return fmt.Errorf("wire type %d, want %d", v.typ, typ)
	}
	return nil
}

// What follows makes fields. Inlined, each field would have closures of its own, 100 kB of WebAssembly in all; hence go:noinline.

//go:noinline
func text[M any](num protowire.Number, name string, at func(*M) *string) field[M] {
	return field[M]{num: num, name: name,
		load: func(_ *decoder, m *M, v payload) error {
			*at(m) = string(v.data)
			return v.want(protowire.BytesType)
		},
		same: func(a, b *M) bool { return *at(a) == *at(b) },
		put: func(out *rope, m *M) {
			if s := *at(m); s != "" {
				out.bytesField(num, []byte(s))
			}
		}}
}

//go:noinline
func texts[M any](num protowire.Number, name string, at func(*M) *[]string) field[M] {
	return field[M]{num: num, name: name,
		load: func(_ *decoder, m *M, v payload) error {
			*at(m) = append(*at(m), string(v.data))
			return v.want(protowire.BytesType)
		},
		same: func(a, b *M) bool { return slices.Equal(*at(a), *at(b)) },
		put: func(out *rope, m *M) {
			for _, s := range *at(m) {
				out.bytesField(num, []byte(s))
			}
		}}
}

func blob[M any](num protowire.Number, name string, at func(*M) *[]byte) field[M] {
	return field[M]{num: num, name: name,
		load: func(_ *decoder, m *M, v payload) error {
			*at(m) = v.data
			return v.want(protowire.BytesType)
		},
		same: func(a, b *M) bool { return sameBytes(*at(a), *at(b)) },
		put: func(out *rope, m *M) {
			if b := *at(m); b != nil {
				out.bytesField(num, b)
			}
		}}
}

//go:noinline
func blobs[M any](num protowire.Number, name string, at func(*M) *[][]byte) field[M] {
	return field[M]{num: num, name: name,
		load: func(_ *decoder, m *M, v payload) error {
			*at(m) = append(*at(m), v.data)
			return v.want(protowire.BytesType)
		},
		same: func(a, b *M) bool { return slices.EqualFunc(*at(a), *at(b), sameBytes) },
		put: func(out *rope, m *M) {
			for _, b := range *at(m) {
				out.bytesField(num, b)
			}
		}}
}

// sameBytes compares slices, at once where they alias the same memory.
func sameBytes(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	return len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b)
}

//go:noinline
func integer[M any, T ~int32 | ~int64](num protowire.Number, name string, at func(*M) *T) field[M] {
	return field[M]{num: num, name: name,
		load: func(_ *decoder, m *M, v payload) error {
			*at(m) = T(v.num)
			return v.want(protowire.VarintType)
		},
		same: func(a, b *M) bool { return *at(a) == *at(b) },
		put: func(out *rope, m *M) {
			if i := *at(m); i != 0 {
				out.varintField(num, uint64(int64(i)))
			}
		}}
}

func float32Field[M any](num protowire.Number, name string, at func(*M) *float32) field[M] {
	return field[M]{num: num, name: name,
		load: func(_ *decoder, m *M, v payload) error {
			*at(m) = math.Float32frombits(uint32(v.num))
			return v.want(protowire.Fixed32Type)
		},
		same: func(a, b *M) bool { return math.Float32bits(*at(a)) == math.Float32bits(*at(b)) },
		put: func(out *rope, m *M) {
			if f := *at(m); math.Float32bits(f) != 0 {
				out.append(protowire.AppendFixed32(protowire.AppendTag(nil, num, protowire.Fixed32Type), math.Float32bits(f)))
			}
		}}
}

//go:noinline
func integers[M any](num protowire.Number, name string, at func(*M) *[]int64) field[M] {
	return field[M]{num: num, name: name,
		load: func(_ *decoder, m *M, v payload) error {
			if v.typ == protowire.VarintType {
				*at(m) = append(*at(m), int64(v.num))
				return nil
			}
			for b := v.data; len(b) > 0; {
				u, n := protowire.ConsumeVarint(b)
				if n < 0 {
					return errors.New("damaged packed integers")
				}
				*at(m) = append(*at(m), int64(u))
				b = b[n:]
			}
			return v.want(protowire.BytesType)
		},
		same: func(a, b *M) bool { return slices.Equal(*at(a), *at(b)) },
		put: func(out *rope, m *M) {
			for _, i := range *at(m) {
				out.varintField(num, uint64(i))
			}
		}}
}

func float32s[M any](num protowire.Number, name string, at func(*M) *[]float32) field[M] {
	return field[M]{num: num, name: name,
		load: func(_ *decoder, m *M, v payload) error {
			if v.typ == protowire.Fixed32Type {
				*at(m) = append(*at(m), math.Float32frombits(uint32(v.num)))
				return nil
			}
			if len(v.data)%4 != 0 {
				return fmt.Errorf("packed floats of %d bytes", len(v.data))
			}
			for b := v.data; len(b) > 0; b = b[4:] {
				u, _ := protowire.ConsumeFixed32(b)
				*at(m) = append(*at(m), math.Float32frombits(u))
			}
			return v.want(protowire.BytesType)
		},
		same: func(a, b *M) bool {
			return slices.EqualFunc(*at(a), *at(b), func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
		},
		put: func(out *rope, m *M) {
			for _, f := range *at(m) {
				out.append(protowire.AppendFixed32(protowire.AppendTag(nil, num, protowire.Fixed32Type), math.Float32bits(f)))
			}
		}}
}

// packed keeps the payload of a packed repeated number unread; it aliases the input where it stands in one piece.
//
//go:noinline
func packed[M any](num protowire.Number, name string, typ protowire.Type, at func(*M) *[]byte) field[M] {
	return field[M]{num: num, name: name,
		load: func(_ *decoder, m *M, v payload) error {
			var b []byte
			switch {
			case v.typ == protowire.BytesType:
				b = v.data
			case v.typ != typ:
				return v.want(typ)
			case typ == protowire.VarintType:
				b = protowire.AppendVarint(nil, v.num)
			case typ == protowire.Fixed32Type:
				b = protowire.AppendFixed32(nil, uint32(v.num))
			default:
				b = protowire.AppendFixed64(nil, v.num)
			}
			if len(*at(m)) == 0 {
				*at(m) = slices.Clip(b)
				return nil
			}
			*at(m) = append(*at(m), b...)
			return nil
		},
		same: func(a, b *M) bool { return sameBytes(*at(a), *at(b)) },
		put: func(out *rope, m *M) {
			if b := *at(m); len(b) > 0 {
				out.bytesField(num, b)
			}
		}}
}

// one is a singular submessage.
//
//go:noinline
func one[M, C any, P interface {
	*C
	message
}](num protowire.Number, name string, s **schema[C], at func(*M) *P) field[M] {
	return field[M]{num: num, name: name,
		load: func(d *decoder, m *M, v payload) error {
			if err := v.want(protowire.BytesType); err != nil {
				return err
			}
			if *at(m) != nil {
				return errors.New("is there twice")
			}
			c, err := decodeMessage(d, *s, v.data)
			*at(m) = c
			return err
		},
		kids: func(m *M) []message {
			if c := *at(m); c != nil {
				return []message{c}
			}
			return nil
		}}
}

// many is a repeated submessage.
//
//go:noinline
func many[M, C any, P interface {
	*C
	message
}](num protowire.Number, name string, s **schema[C], at func(*M) *[]P) field[M] {
	return field[M]{num: num, name: name,
		load: func(d *decoder, m *M, v payload) error {
			if err := v.want(protowire.BytesType); err != nil {
				return err
			}
			c, err := decodeMessage(d, *s, v.data)
			if err != nil {
				return indexed(len(*at(m)), c, err)
			}
			*at(m) = append(*at(m), c)
			return nil
		},
		kids: func(m *M) []message {
			out := make([]message, len(*at(m)))
			for i, c := range *at(m) {
				out[i] = c
			}
			return out
		}}
}
