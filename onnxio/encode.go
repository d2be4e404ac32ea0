package onnxio

import (
	"bytes"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// segment is a run of output bytes, at hand or lazy.
type segment struct {
	data []byte
	lazy Lazy
}

// rope is output in parts, most of which alias the input; adjoining parts of one slice become one.
type rope struct {
	segs []segment
	size int64
}

func (r *rope) append(b []byte) {
	if len(b) == 0 {
		return
	}
	r.size += int64(len(b))
	if n := len(r.segs); n > 0 {
		last := r.segs[n-1].data
		if k := len(last); k > 0 && cap(last) > k && &last[:k+1][k] == &b[0] {
			r.segs[n-1].data = last[:k+len(b)]
			return
		}
	}
	r.segs = append(r.segs, segment{data: b})
}

func (r *rope) splice(o *rope) {
	for _, s := range o.segs {
		if s.lazy == nil {
			r.append(s.data)
			continue
		}
		r.segs = append(r.segs, s)
		r.size += s.lazy.Size()
	}
}

func (r *rope) head(num protowire.Number, size int64) {
	r.append(protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.BytesType), uint64(size)))
}

func (r *rope) bytesField(num protowire.Number, b []byte) {
	r.head(num, int64(len(b)))
	r.append(b)
}

func (r *rope) lazyField(num protowire.Number, l Lazy) {
	r.head(num, l.Size())
	r.segs = append(r.segs, segment{lazy: l})
	r.size += l.Size()
}

func (r *rope) varintField(num protowire.Number, v uint64) {
	r.append(protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v))
}

// is reports whether the rope is nothing but raw itself.
func (r *rope) is(raw []byte) bool {
	if len(r.segs) == 0 {
		return raw != nil && len(raw) == 0
	}
	s := r.segs[0].data
	return len(r.segs) == 1 && len(s) == len(raw) && len(s) > 0 && &s[0] == &raw[0]
}

// encodeMessage writes m: whatever still equals raw, the bytes it was decoded from, is passed through as it stands.
func encodeMessage[M any](s *schema[M], m *M, raw []byte, out *rope) {
	if raw == nil {
		for i := range s.fields {
			encodeNew(&s.fields[i], m, out)
		}
		return
	}
	old := new(M)
	d := &decoder{base: raw, shallow: true}
	if decodeFields(d, s, old, raw) != nil {
		out.append(raw) // cannot happen: raw was decoded before
		return
	}
	e := encoder[M]{schema: s, m: m, old: old, state: make([]fieldState, len(s.fields))}
	for b := raw; len(b) > 0; {
		num, v, n, _ := next(b)
		e.field(num, v, b[:n], out)
		b = b[n:]
	}
	for i := range s.fields {
		e.rest(i, out)
	}
}

func encodeNew[M any](f *field[M], m *M, out *rope) {
	if f.kids == nil {
		f.put(out, m)
		return
	}
	for _, c := range f.kids(m) {
		encodeChild(f.num, c, out)
	}
}

func encodeChild(num protowire.Number, c message, out *rope) {
	var r rope
	c.encodeTo(&r)
	out.head(num, r.size)
	out.splice(&r)
}

// fieldState is how far one field of a decoded message has been written.
type fieldState struct {
	ready, same bool
	kids        []message
	index       map[*byte]int // of the kids' origins
	done        int           // kids written so far
	written     bool          // scalars
}

type encoder[M any] struct {
	schema *schema[M]
	m, old *M
	state  []fieldState
}

func (e *encoder[M]) at(i int) *fieldState {
	f, st := &e.schema.fields[i], &e.state[i]
	if st.ready {
		return st
	}
	st.ready = true
	if f.kids == nil {
		st.same = f.same(e.m, e.old)
		return st
	}
	st.kids = f.kids(e.m)
	st.index = make(map[*byte]int, len(st.kids))
	for k, c := range st.kids {
		if b := c.wire(); len(b) > 0 {
			st.index[&b[0]] = k
		}
	}
	return st
}

// field writes what becomes of one occurrence of a field.
func (e *encoder[M]) field(num protowire.Number, v payload, raw []byte, out *rope) {
	f := e.schema.lookup(num)
	if f == nil {
		out.append(raw)
		return
	}
	i := int(e.schema.byNum[num] - 1)
	st := e.at(i)
	switch {
	case f.kids != nil:
		e.child(f, st, v, raw, out)
	case st.same:
		out.append(raw)
		st.written = true
	case !st.written:
		f.put(out, e.m)
		st.written = true
	}
}

// child writes the present kids up to the one that this occurrence was decoded to; a removed kid writes nothing.
func (e *encoder[M]) child(f *field[M], st *fieldState, v payload, raw []byte, out *rope) {
	k, ok := 0, false
	if len(v.data) > 0 {
		k, ok = st.index[&v.data[0]]
	} else if st.done < len(st.kids) {
		b := st.kids[st.done].wire()
		k, ok = st.done, b != nil && len(b) == 0
	}
	if !ok || k < st.done {
		return
	}
	for ; st.done < k; st.done++ {
		encodeChild(f.num, st.kids[st.done], out)
	}
	st.done++
	var r rope
	st.kids[k].encodeTo(&r)
	if r.is(v.data) {
		out.append(raw)
		return
	}
	out.head(f.num, r.size)
	out.splice(&r)
}

// rest writes what has no place among the original's fields.
func (e *encoder[M]) rest(i int, out *rope) {
	f, st := &e.schema.fields[i], e.at(i)
	if f.kids == nil {
		if !st.written && !st.same {
			f.put(out, e.m)
		}
		return
	}
	for ; st.done < len(st.kids); st.done++ {
		encodeChild(f.num, st.kids[st.done], out)
	}
}

// Encode writes the model in protobuf form. It fails with an UnsupportedError where that would be larger than MaxProtoSize.
func (m *Model) Encode(w io.Writer) error {
	r, err := m.rope()
	if err != nil {
		return err
	}
	var small []byte
	flush := func() error {
		_, err := w.Write(small)
		small = small[:0]
		return err
	}
	for _, s := range r.segs {
		if s.lazy == nil && len(small)+len(s.data) <= 1<<16 {
			small = append(small, s.data...)
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		if err := s.write(w); err != nil {
			return err
		}
	}
	return flush()
}

func (s segment) write(w io.Writer) error {
	if s.lazy == nil {
		_, err := w.Write(s.data)
		return err
	}
	n, err := s.lazy.WriteTo(w)
	if err == nil && n != s.lazy.Size() {
		err = fmt.Errorf("lazy tensor data: wrote %d bytes, promised %d", n, s.lazy.Size())
	}
	return err
}

func (m *Model) rope() (*rope, error) {
	var r rope
	m.encodeTo(&r)
	if r.size > MaxProtoSize {
		return nil, &UnsupportedError{What: fmt.Sprintf("a model of %d bytes in one file; protobuf allows at most %d: store the weights as external data", r.size, int64(MaxProtoSize))}
	}
	return &r, nil
}

// EncodedSize returns the number of bytes that Encode writes.
func (m *Model) EncodedSize() int64 {
	var r rope
	m.encodeTo(&r)
	return r.size
}

// Marshal returns the model in protobuf form.
func (m *Model) Marshal() ([]byte, error) {
	r, err := m.rope()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(int(r.size))
	for _, s := range r.segs {
		if err := s.write(&b); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
