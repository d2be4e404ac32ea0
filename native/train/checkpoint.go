package train

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/xla"
)

const checkpointName = "checkpoint.safetensors"

// resume takes up the folder's checkpoint, or starts the folder.
func (r *Run) resume() error {
	if err := os.MkdirAll(r.Folder, 0o755); err != nil {
		return err
	}
	path := filepath.Join(r.Folder, "config.json")
	raw, err := os.ReadFile(path)
	if err == nil {
		var old Config
		if err := ReadRecord(raw, path, &old); err != nil {
			return err
		}
		if d := Differences(&old, &r.Config); d != "" {
			return fmt.Errorf("%s holds a run with another configuration: %s; choose another folder or remove this one", r.Folder, d)
		}
		if exists(filepath.Join(r.Folder, checkpointName)) {
			return r.load()
		}
		return nil
	}
	if !os.IsNotExist(err) {
		return err
	}
	raw, err = json.MarshalIndent(r.Config, "", "  ")
	if err != nil {
		return err
	}
	return outfile.WriteBytes(path, append(raw, '\n'))
}

// save writes the checkpoint beside the old one and renames it.
func (r *Run) save(ctx context.Context) error {
	defer Saving(ctx)()
	s, err := r.trainer.State()
	if err != nil {
		return err
	}
	r.at.History = r.history
	at, err := json.Marshal(r.at)
	if err != nil {
		return err
	}
	f := &safetensors.File{Metadata: map[string]string{"format": "metaprune-checkpoint", "position": string(at), "steps": fmt.Sprint(s.Steps)}, Tensors: map[string]*safetensors.Tensor{}}
	for i, name := range s.Names {
		f.Tensors[name] = safetensors.FloatTensor(s.Values[i], s.Dims[i]...)
	}
	names, err := json.Marshal(s.Names)
	if err != nil {
		return err
	}
	f.Metadata["names"] = string(names)
	var b bytes.Buffer
	if _, err := f.WriteTo(&b); err != nil {
		return err
	}
	return outfile.WriteBytes(filepath.Join(r.Folder, checkpointName), b.Bytes())
}

func (r *Run) load() error {
	path := filepath.Join(r.Folder, checkpointName)
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := safetensors.Parse(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s := &xla.State{}
	if _, err := fmt.Sscan(f.Metadata["steps"], &s.Steps); err != nil {
		return fmt.Errorf("%s: steps: %w", path, err)
	}
	if err := json.Unmarshal([]byte(f.Metadata["names"]), &s.Names); err != nil {
		return fmt.Errorf("%s: names: %w", path, err)
	}
	for _, name := range s.Names {
		t := f.Tensors[name]
		if t == nil {
			return fmt.Errorf("%s: %q is missing", path, name)
		}
		v, err := t.Floats()
		if err != nil {
			return fmt.Errorf("%s: %q: %w", path, name, err)
		}
		s.Values, s.Dims = append(s.Values, v), append(s.Dims, t.Shape)
	}
	if err := json.Unmarshal([]byte(f.Metadata["position"]), &r.at); err != nil {
		return fmt.Errorf("%s: position: %w", path, err)
	}
	r.history = r.at.History
	if err := r.trainer.SetState(s); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
