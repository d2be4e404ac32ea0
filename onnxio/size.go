package onnxio

// WrittenSize returns the bytes of the files that the model becomes: of the model alone where location is empty, with its external data inside; else of what SaveExternal writes, with the external data in a file of that name.
func (m *Model) WrittenSize(location string) int64 {
	if location == "" {
		return m.EncodedSize() + m.ExternalSize()
	}
	changed, g := *m, *m.Graph
	changed.Graph = &g
	g.Initializers = append([]*Tensor(nil), g.Initializers...)
	at := int64(0)
	for i, t := range g.Initializers {
		size, err := t.ByteSize()
		if err != nil || t.DataType == String || size < externalThreshold {
			continue
		}
		at += (externalAlign - at%externalAlign) % externalAlign
		c := *t
		c.SetExternal(location, at, size)
		g.Initializers[i] = &c
		at += size
	}
	return changed.EncodedSize() + changed.ExternalSize() - externalOf(g.Initializers) + at
}

// externalOf sums the elements that the tensors keep in external data.
func externalOf(tensors []*Tensor) int64 {
	var sum int64
	for _, t := range tensors {
		if n, err := t.ByteSize(); err == nil && t.IsExternal() && n >= externalThreshold {
			sum += n
		}
	}
	return sum
}
