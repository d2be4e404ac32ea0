package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

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

// write writes a model to a path or, for "-", to standard output. Weights in external data stay external: beside the path, as NAME.data, which with force alone replaces the data of another model.
func (a *app) write(path string, m *onnxio.Model, external, force bool) error {
	if path == "-" {
		whole, err := m.Inline()
		if err != nil {
			return err
		}
		return whole.Encode(a.out)
	}
	if external {
		return m.SaveExternal(path, force)
	}
	return m.Save(path)
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

func (a *app) writePlan(path string, p *prune.Plan) error {
	b, err := prune.MarshalPlan(p)
	if err != nil {
		return err
	}
	return a.saveBytes(path, b)
}
