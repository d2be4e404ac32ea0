package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
)

// open reads a model from a path or, for "-", from standard input. Work is counted at the given sizes of inputs.
func (a *app) open(path string, inputs ...string) (*prune.Model, func() error, error) {
	g := a.stage("reading and analysing " + path)
	s, closeModel, err := a.openModel(path)
	g.end()
	if err == nil && len(inputs) > 0 {
		if err = countAt(s, inputs); err != nil {
			return nil, nil, errors.Join(badSize(err), closeModel())
		}
	}
	return s, closeModel, err
}

// badSize is an error about --input.
func badSize(err error) error {
	var size *coupling.SizeError
	if errors.As(err, &size) {
		return &usageError{"--input", size.Want, size.Got, "--input: " + err.Error()}
	}
	return fmt.Errorf("--input: %w", err)
}

// countAt sets the sizes of --input. Channels, height and width alone are those of pictures, which need not be the model's only input as it is.
func countAt(s *prune.Model, inputs []string) error {
	sizes, err := coupling.ParseSizes(inputs)
	if err != nil {
		return err
	}
	if len(sizes[""]) == 3 {
		var only *op.Value
		for _, in := range s.ONNX.Graph.Inputs {
			if v := s.Analysis.Value(in.Name); v != nil && v.Const == nil {
				only = v
			}
		}
		if only != nil && only.Ranked && len(only.Shape) < 3 {
			delete(sizes, "")
		}
	}
	return s.CountAt(sizes)
}

func (a *app) openModel(path string) (*prune.Model, func() error, error) {
	if path == "-" {
		data, err := io.ReadAll(a.in)
		if err != nil {
			return nil, nil, fmt.Errorf("standard input: %w", err)
		}
		s, err := prune.Read(data, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("standard input: %w", err)
		}
		return s, s.Close, nil
	}
	f, err := onnxio.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if err := fits(path, f.Model); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	s, err := prune.FromModel(f.Model, f.Data)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return s, func() error { return errors.Join(s.Close(), f.Close()) }, nil
}

// write writes a model to a path or, for "-", to standard output. Weights in external data stay external: beside the path, as NAME.data, which with force alone replaces the data of another model.
func (a *app) write(path string, m *onnxio.Model, external, force bool) error {
	defer a.stage("writing " + path).end()
	b := &outfile.Batch{}
	defer b.Discard()
	if err := a.addModel(b, path, m, external, force); err != nil {
		return err
	}
	return b.Commit()
}

// addModel is write as a part of a batch.
func (a *app) addModel(b *outfile.Batch, path string, m *onnxio.Model, external, force bool) error {
	switch {
	case path == "-":
		whole, err := m.Inline()
		if err != nil {
			return err
		}
		b.Through(func() error { return whole.Encode(a.out) })
		return nil
	case external:
		return m.AddExternal(b, path, force)
	}
	return b.Add(path, m.Encode)
}

// addBytes adds a file, or text for standard output, to a batch.
func (a *app) addBytes(b *outfile.Batch, path string, data []byte) error {
	if path == "-" {
		b.Through(func() error { _, err := a.out.Write(data); return err })
		return nil
	}
	return b.AddBytes(path, data)
}

// beside is where a command speaks that writes to these files: standard error where standard output is one of them.
func (a *app) beside(outs ...string) *app {
	b := *a
	if slices.ContainsFunc(outs, toStdout) {
		b.out = a.err
	}
	return &b
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func readPlan(path string) (*planner.Plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := planner.ParsePlan(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}
