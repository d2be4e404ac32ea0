package prune

import (
	"errors"
	"fmt"

	"github.com/metaprune/metaprune/onnxio"
)

// Open maps, decodes and analyses the model at path. External data is read from files below the model's folder and from nowhere else.
// Errors are those of the file system, [onnxio.FormatError] for bytes that are no ONNX model and [onnxio.UnsupportedError] for a model that cannot be analysed. Close releases the file.
func Open(path string) (*Model, error) {
	f, err := onnxio.Open(path)
	if err != nil {
		return nil, err
	}
	s, err := FromModel(f.Model, f.Data)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	s.path, s.closing = path, f.Close
	return s, nil
}
