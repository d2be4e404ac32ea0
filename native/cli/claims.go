package cli

import (
	"cmp"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/metaprune/metaprune/native/bucket"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/samples"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
)

// claims are the files that a command reads and writes. A command names all of them and calls check before it starts to work.
type claims struct {
	outfile.Claims
	app   *app
	err   error
	pairs []pairClaim
}

// pairClaim is a model that is written with external data.
type pairClaim struct {
	path  string
	force bool
}

func (a *app) claims() *claims { return &claims{app: a} }

// reads claims a file that is read; use says what it is. "" is none.
func (c *claims) reads(path, use string) {
	switch path {
	case "":
	case "-":
		if f, ok := c.app.in.(*os.File); ok {
			c.ReadOpen(f, use)
		}
	default:
		c.Read(path, use)
	}
}

// model claims a model that is read, with its external data files, and reports whether it has any. m is the model where it is open already.
func (c *claims) model(path, use string, m *onnxio.Model) bool {
	c.reads(path, use)
	if path == "" || path == "-" {
		return false
	}
	var names []string
	if m != nil {
		names = m.DataFiles()
	} else {
		names = onnxio.DataFiles(path)
	}
	for _, name := range names {
		c.reads(filepath.Join(filepath.Dir(path), filepath.FromSlash(name)), "external data of "+path)
	}
	return len(names) > 0
}

// plan claims a plan that is read, with its repaired tensors, and reports whether it has any.
func (c *claims) plan(path string) (repaired bool) {
	c.reads(path, "the plan")
	if t, err := outfile.Resolve(path); path == "" || err != nil || t.Stream() { // a pipe can be read once
		return false
	}
	var p struct{ Repaired *struct{ File string } }
	if raw, err := os.ReadFile(path); err != nil || json.Unmarshal(raw, &p) != nil || p.Repaired == nil {
		return false // whoever reads the plan says what is wrong with it
	}
	c.reads(filepath.Join(filepath.Dir(path), filepath.Base(p.Repaired.File)), "repaired tensors of the plan")
	return true
}

// data claims the data sets that flags name.
func (c *claims) data(d *dataFlags, r *repairFlags) {
	for use, spec := range map[string]string{"data": cmp.Or(d.spec, d.images), "labels": d.labels, "calibration samples": r.calibrate, "the tokenizer": r.tokenizer} {
		if spec == "" {
			continue
		}
		files, folder := data.Reads(spec)
		for _, f := range files {
			c.reads(f, use)
		}
		if folder != "" {
			c.ReadFolder(folder, use, samples.Part)
		}
	}
}

// writes claims a file that is written; use says what it is. "" is none, - is standard output.
func (c *claims) writes(path, use string) {
	switch {
	case path == "" || c.err != nil:
	case path == "-":
		if f, ok := c.app.out.(*os.File); ok {
			c.WriteOpen(f, use)
		}
	default:
		c.err = c.Write(path, use)
	}
}

// writesModel claims a model that is written, with its external data file where the weights go there.
func (c *claims) writesModel(path, use string, external, force bool) {
	c.writes(path, use)
	if c.err != nil || path == "" || path == "-" || !external {
		return
	}
	t, err := outfile.Resolve(path)
	if c.err = err; err != nil || !t.TakesPair() {
		return
	}
	c.writes(outfile.DataName(path), "the weights of "+path)
	c.pairs = append(c.pairs, pairClaim{path, force})
}

// writesIn claims files of a folder that is made when it is missing.
func (c *claims) writesIn(folder, use string, names ...string) {
	for _, name := range names {
		if c.err == nil && !bucket.Is(folder) {
			c.err = c.WriteMade(filepath.Join(folder, name), use)
		}
	}
}

// check refuses a file that is written and read, or written twice, and files that cannot be written.
func (c *claims) check() error {
	if c.err != nil {
		return c.err
	}
	if err := c.Check(); err != nil {
		return err
	}
	for _, p := range c.pairs {
		if err := outfile.CheckPair(p.path, onnxio.DataFiles(p.path), p.force); err != nil {
			return err
		}
	}
	return nil
}

// beside is the name of an output that is written beside a model where no other name was given: never over a file that is there without force.
func beside(model, ending string, force bool) (string, error) {
	t, err := outfile.Resolve(model)
	if err != nil {
		return "", err
	}
	if model == "-" || t.Stream() {
		return "", &usageError{where: "-o", want: "a file, or - for standard output", text: "the model comes from a pipe, so that the output has no name: name it with -o FILE, or -o - for standard output"}
	}
	out := stem(model) + ending
	return out, unwritten(out, force)
}

// unwritten refuses an output that the user did not name and that is there already. A run that goes on in a folder with a file record of its own writes its output again.
func unwritten(out string, force bool, record ...string) error {
	for _, r := range record {
		if _, err := os.Stat(r); err == nil {
			return nil
		}
	}
	if _, err := os.Lstat(out); err == nil && !force {
		return &usageError{where: "-o", want: "another name, or --force", got: out, text: out + " exists: overwrite it with --force, or choose another name with -o FILE"}
	}
	return nil
}

// forceHelp says what --force does.
const forceHelp = "overwrite the default output (named after the model), and a data file (NAME.data) of another model; files that the command reads are never overwritten"

// toStdout reports whether a path stands for standard output.
func toStdout(path string) bool {
	if path == "-" {
		return true
	}
	t, err := outfile.Resolve(path)
	return path != "" && err == nil && t.Descriptor() == 1
}

// save writes to a path or, for "-", to standard output.
func (a *app) save(path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(a.out)
	}
	return outfile.Write(path, write)
}

// saveBytes is save for what is in memory.
func (a *app) saveBytes(path string, b []byte) error {
	return a.save(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// stem is a model's path without its ending.
func stem(path string) string {
	if strings.EqualFold(filepath.Ext(path), ".onnx") {
		return path[:len(path)-len(".onnx")]
	}
	return path
}
