package onnxio

import (
	"fmt"
	"io"
	"slices"

	"github.com/metaprune/metaprune/onnxio/outfile"
)

// externalThreshold is the size in bytes from which SaveExternal moves a tensor's elements out of the model.
const externalThreshold = 1024

// externalAlign is the alignment of tensors in external data, the page size that readers map by.
const externalAlign = 4096

// Save writes the model to the file at path, through [outfile].
func (m *Model) Save(path string) error { return outfile.Write(path, m.Encode) }

// SaveExternal writes the model to path and the elements of its larger initializers to path+".data" beside it, as a pair that is whole at any moment ([outfile.WritePair]). Where nothing can lie beside path, because it is a pipe or
// a link into another folder, the elements are written inside the model. A data file that exists and is not that of the model at path is replaced with force alone.
func (m *Model) SaveExternal(path string, force bool) error {
	b := &outfile.Batch{}
	defer b.Discard()
	if err := m.AddExternal(b, path, force); err != nil {
		return err
	}
	return b.Commit()
}

// AddExternal is SaveExternal as a part of a batch.
func (m *Model) AddExternal(b *outfile.Batch, path string, force bool) error {
	if err := m.noExternalAttributes(); err != nil {
		return err
	}
	t, err := outfile.Resolve(path)
	if err != nil {
		return err
	}
	if !t.TakesPair() {
		whole, err := m.Inline()
		if err != nil {
			return err
		}
		return b.Add(path, whole.Encode)
	}
	s, err := m.splitOff()
	if err != nil {
		return err
	}
	return b.AddPair(path, outfile.Pair{Data: s.data, Model: s.model, Had: DataFiles(path), Force: force})
}

// DataFiles lists the files that the model at path keeps elements in, relative to its folder; none where there is no readable model.
func DataFiles(path string) []string {
	if t, err := outfile.Resolve(path); err != nil || t.Stream() || t.Info == nil {
		return nil
	}
	f, err := Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	return f.DataFiles()
}

// DataFiles lists the files that the model keeps elements in, relative to its folder.
func (m *Model) DataFiles() []string {
	var out []string
	m.EachTensor(func(t *Tensor) {
		if !t.IsExternal() {
			return
		}
		if name, _, _, err := t.ExternalInfo(); err == nil && !slices.Contains(out, name) {
			out = append(out, name)
		}
	})
	return out
}

// split is a model whose larger initializers go to a file of their own.
type split struct {
	source *Model
	at     []int64 // where an initializer's elements begin in that file, -1 where they stay in the model
	size   []int64
}

// splitOff decides what goes where.
func (m *Model) splitOff() (*split, error) {
	s := &split{source: m}
	end := int64(0)
	for _, t := range m.Graph.Initializers {
		size, err := t.ByteSize()
		if t.DataType == String || err == nil && size < externalThreshold {
			s.at, s.size = append(s.at, -1), append(s.size, 0)
			continue
		}
		if err != nil {
			return nil, err
		}
		end += (externalAlign - end%externalAlign) % externalAlign
		s.at, s.size = append(s.at, end), append(s.size, size)
		end += size
	}
	return s, nil
}

// data writes the elements.
func (s *split) data(w io.Writer) error {
	end := int64(0)
	for i, t := range s.source.Graph.Initializers {
		if s.at[i] < 0 {
			continue
		}
		if _, err := w.Write(make([]byte, s.at[i]-end)); err != nil {
			return err
		}
		if err := t.writeRaw(w); err != nil {
			return err
		}
		end = s.at[i] + s.size[i]
	}
	return nil
}

// model writes the model that finds the elements in the file of that name.
func (s *split) model(w io.Writer, location string) error {
	changed, g := *s.source, *s.source.Graph
	changed.Graph = &g
	g.Initializers = slices.Clone(g.Initializers)
	for i, t := range g.Initializers {
		if s.at[i] < 0 {
			in, err := t.inlined()
			if err != nil {
				return err
			}
			g.Initializers[i] = in
			continue
		}
		c := *t
		c.SetExternal(location, s.at[i], s.size[i])
		g.Initializers[i] = &c
	}
	return changed.Encode(w)
}

// noExternalAttributes refuses models whose node attributes keep elements in external data: those would point at files that are not written.
func (m *Model) noExternalAttributes() error {
	var found *Tensor
	initializer := map[*Tensor]bool{}
	for _, t := range m.Graph.Initializers {
		initializer[t] = true
	}
	m.EachTensor(func(t *Tensor) {
		if t.IsExternal() && !initializer[t] {
			found = t
		}
	})
	if found == nil {
		return nil
	}
	return &UnsupportedError{Path: fmt.Sprintf("tensor %q", found.Name), What: "external data in a node's attribute or a subgraph"}
}

// Inline returns the model with the elements of all initializers inside, for writing to one stream.
func (m *Model) Inline() (*Model, error) {
	if err := m.noExternalAttributes(); err != nil {
		return nil, err
	}
	changed, g := *m, *m.Graph
	changed.Graph = &g
	g.Initializers = append([]*Tensor(nil), g.Initializers...)
	for i, t := range g.Initializers {
		in, err := t.inlined()
		if err != nil {
			return nil, err
		}
		g.Initializers[i] = in
	}
	return &changed, nil
}

// inlined returns the tensor with its elements in the model.
func (t *Tensor) inlined() (*Tensor, error) {
	if !t.IsExternal() {
		return t, nil
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	c := *t
	c.SetRaw(raw)
	return &c, nil
}

func (t *Tensor) writeRaw(w io.Writer) error {
	if t.Lazy != nil {
		_, err := t.Lazy.WriteTo(w)
		return err
	}
	raw, err := t.Bytes()
	if err != nil {
		return err
	}
	_, err = w.Write(raw)
	return err
}
