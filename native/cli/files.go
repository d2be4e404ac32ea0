package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/session"
)

// open reads a model from a path or, for "-", from standard input.
func (a *app) open(path string) (*session.Session, func() error, error) {
	if path == "-" {
		data, err := io.ReadAll(a.in)
		if err != nil {
			return nil, nil, fmt.Errorf("standard input: %w", err)
		}
		s, err := session.Open(data, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("standard input: %w", err)
		}
		return s, func() error { s.Close(); return nil }, nil
	}
	f, err := onnxio.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if err := fits(path, f.Model); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	s, err := session.FromModel(f.Model, f.Data)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return s, func() error { s.Close(); return f.Close() }, nil
}

// write writes a model to a path or, for "-", to standard output. Weights in external data stay external: beside the path, as NAME.data.
func (a *app) write(path string, m *onnxio.Model, external bool) error {
	if path == "-" {
		whole, err := m.Inline()
		if err != nil {
			return err
		}
		return whole.Encode(a.out)
	}
	if external {
		return m.SaveExternal(path)
	}
	return onnxio.WriteFile(path, m.Encode)
}

// beside is where a command speaks that writes a model to out: standard error where standard output carries the model.
func (a *app) beside(out string) *app {
	b := *a
	if out == "-" {
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

func readPlan(path string) (*prune.Plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := prune.ParsePlan(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func writePlan(path string, p *prune.Plan) error {
	b, err := prune.MarshalPlan(p)
	if err != nil {
		return err
	}
	return writeBytes(path, b)
}

func writeBytes(path string, b []byte) error {
	return onnxio.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// sameFile reports whether two paths name one file.
func sameFile(x, y string) bool {
	a, errA := os.Stat(x)
	b, errB := os.Stat(y)
	if errA == nil && errB == nil {
		return os.SameFile(a, b)
	}
	return filepath.Clean(x) == filepath.Clean(y)
}
