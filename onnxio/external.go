package onnxio

import (
	"fmt"
	"strconv"
)

// ExternalData reads files that tensors keep their elements in.
type ExternalData interface {
	// Read returns length bytes of the file at location (relative to the model's folder) from offset on; length -1 reads to the end. The result must stay
	// valid as long as the model is in use.
	Read(location string, offset, length int64) ([]byte, error)
}

// ExternalInfo returns where the external elements are: length is -1 where the model does not say.
func (t *Tensor) ExternalInfo() (location string, offset, length int64, err error) {
	length = -1
	for _, kv := range t.External {
		var at *int64
		switch kv.Key {
		case "location":
			location = kv.Value
			continue
		case "offset":
			at = &offset
		case "length":
			at = &length
		default:
			continue
		}
		n, err := strconv.ParseInt(kv.Value, 10, 64)
		if err != nil || n < 0 {
			return "", 0, 0, errorAt("external_data", "%s %q is not a length", kv.Key, kv.Value)
		}
		*at = n
	}
	if location == "" {
		return "", 0, 0, errorAt("external_data", "has no location")
	}
	return location, offset, length, nil
}

func (t *Tensor) external() ([]byte, error) {
	location, offset, length, err := t.ExternalInfo()
	if err != nil {
		return nil, err
	}
	if t.store == nil {
		return nil, &UnsupportedError{What: fmt.Sprintf("external data (%s): the model was read without access to other files", location)}
	}
	size, err := t.ByteSize()
	if err != nil {
		return nil, err
	}
	if length < 0 {
		length = size
	}
	return t.store.Read(location, offset, length)
}

// SetExternal replaces the elements by a place in an external file.
func (t *Tensor) SetExternal(location string, offset, length int64) {
	t.SetRaw(nil)
	t.DataLocation = 1
	t.External = []*KeyValue{
		{Key: "location", Value: location},
		{Key: "offset", Value: strconv.FormatInt(offset, 10)},
		{Key: "length", Value: strconv.FormatInt(length, 10)},
	}
}

// ExternalSize returns the bytes of the elements that are kept in external data.
func (m *Model) ExternalSize() int64 {
	var sum int64
	m.EachTensor(func(t *Tensor) {
		if n, err := t.ByteSize(); err == nil && t.IsExternal() {
			sum += n
		}
	})
	return sum
}

// HasExternal reports whether any tensor keeps its elements in external data.
func (m *Model) HasExternal() bool {
	found := false
	m.EachTensor(func(t *Tensor) { found = found || t.IsExternal() })
	return found
}
