package outfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Pair is a model that names a data file in its folder.
type Pair struct {
	Data  func(w io.Writer) error              // writes the data file
	Model func(w io.Writer, data string) error // writes the model, which is to name its data file so; it is called twice
	Had   []string                             // data files that the model which is there now names, relative to its folder
	Force bool                                 // replace a data file that is not among them
}

// DataName is what the data file of a model is called.
func DataName(model string) string { return model + ".data" }

// TakenError says that the data file that a model would get is there and belongs to another model.
type TakenError struct{ Model, Data string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s: the weights of this model would be written to %s, which exists and may belong to another model: choose another name, move the file away, or overwrite it with option \"force\"", e.Model, e.Data)
}

// TakesPair reports whether a data file can be put beside the target, so that the model finds it under each of its names: the target is a file, and the name is no link into another folder.
func (t *Target) TakesPair() bool {
	if t.Stream() {
		return false
	}
	link, _ := folderOf(t.Name)
	real, _ := folderOf(t.Path)
	x, errX := os.Stat(link)
	y, errY := os.Stat(real)
	return errX != nil || errY != nil || os.SameFile(x, y)
}

// CheckPair says why a model and its data file cannot be written, as far as can be seen without writing.
func CheckPair(name string, had []string, force bool) error {
	_, _, err := pairTargets(name, &Pair{Had: had, Force: force})
	return err
}

// WritePair replaces a model and its data file, as the package says. Where it fails before the first rename, both are as they were.
func WritePair(name string, p Pair) error {
	b := &Batch{}
	defer b.Discard()
	if err := b.AddPair(name, p); err != nil {
		return err
	}
	return b.Commit()
}

// pairTargets are the files of model and data.
func pairTargets(name string, p *Pair) (model, data *Target, err error) {
	if model, err = Resolve(name); err != nil {
		return nil, nil, err
	}
	if data, err = Resolve(DataName(name)); err != nil {
		return nil, nil, err
	}
	if !model.TakesPair() {
		return nil, nil, model.failed(errors.New("no data file can be written beside it"))
	}
	if err := errors.Join(model.Ready(), data.Ready()); err != nil {
		return nil, nil, err
	}
	if data.Stream() || !data.inside(model) {
		return nil, nil, data.failed(fmt.Errorf("not a file in the folder of %s; external data must be a file in the model's folder", name))
	}
	if data.Info != nil && !p.Force && !data.among(p.Had) {
		return nil, nil, &TakenError{name, data.Name}
	}
	return model, data, nil
}

// inside reports whether the target is in the folder of model or below it: readers follow no links that lead out of it.
func (t *Target) inside(model *Target) bool {
	in, _ := folderOf(t.Path)
	of, _ := folderOf(model.Name)
	x, errX := filepath.EvalSymlinks(in)
	y, errY := filepath.EvalSymlinks(of)
	if errX != nil || errY != nil {
		return false
	}
	x, errX = filepath.Abs(x)
	y, errY = filepath.Abs(y)
	return errX == nil && errY == nil && (x == y || strings.HasPrefix(x, strings.TrimSuffix(y, string(filepath.Separator))+string(filepath.Separator)))
}

// among reports whether the data file is one of those that a model names, relative to its folder. A model that names NAME.data.NUMBER is one whose writer was killed after the first rename; NAME.data was
// its data file before.
func (t *Target) among(names []string) bool {
	dir, base := folderOf(t.Name)
	for _, n := range names {
		if numbered(n, base+".") {
			return true
		}
		if info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(n))); err == nil && os.SameFile(info, t.Info) {
			return true
		}
	}
	return false
}

// readyPair is a pair whose files are all written and have their names still to get.
type readyPair struct {
	model, data *Target
	own         *draft // the data under a name of its own
	first, last *draft // the model, which names that one, and the one that names the data's final name
	final       *draft // the data once more, for the final name
	committed   bool
}

// preparePair writes the files of a pair.
func (w writer) preparePair(name string, p *Pair) (_ *readyPair, err error) {
	r := &readyPair{}
	defer func() {
		if err != nil {
			r.discard()
		}
	}()
	if r.model, r.data, err = pairTargets(name, p); err != nil {
		return nil, err
	}
	if r.own, err = w.draft(r.data, r.data.Name+".", p.Data); err != nil {
		return nil, err
	}
	if r.first, err = w.temporary(r.model, func(f io.Writer) error { return p.Model(f, filepath.Base(r.own.path)) }); err != nil {
		return nil, err
	}
	if r.last, err = w.temporary(r.model, func(f io.Writer) error { return p.Model(f, filepath.Base(r.data.Name)) }); err != nil {
		return nil, err
	}
	if r.final, err = w.same(r.own, r.data); err != nil {
		return nil, err
	}
	dir, _ := folderOf(r.model.Path)
	syncFolder(dir)
	return r, nil
}

// commit gives the files their names.
func (r *readyPair) commit(w writer) error {
	if err := w.rename(r.first, r.model, r.own.path); err != nil {
		return err
	}
	r.committed = true // the model names the data by their own name, which stays until it names the final one
	err := w.rename(r.final, r.data)
	if err == nil {
		err = w.rename(r.last, r.model)
	}
	if err != nil {
		return fmt.Errorf("%s is written, its weights are in %s: %w", r.model.Name, r.own.path, err)
	}
	r.own.discard()
	w.step("finished")
	return nil
}

// discard removes what has no name yet.
func (r *readyPair) discard() {
	for _, d := range []*draft{r.first, r.last, r.final} {
		if d != nil {
			d.discard()
		}
	}
	if r.own != nil && !r.committed {
		r.own.discard()
	}
}

// same gives the contents of a draft a second name beside the target: a hard link, or a copy where there are none.
func (w writer) same(d *draft, t *Target) (*draft, error) {
	dir, base := folderOf(t.Path)
	prefix := dir + "." + shortened(base) + ".tmp-"
	if f, err := w.create(t, prefix); err == nil { // for a name that nobody has
		second := &draft{path: f.Name()}
		_ = f.Close()
		_ = os.Remove(second.path)
		if os.Link(d.path, second.path) == nil {
			w.step("linked " + second.path)
			return second, nil
		}
		second.discard()
	}
	return w.draft(t, prefix, func(to io.Writer) error {
		from, err := os.Open(d.path)
		if err != nil {
			return err
		}
		defer from.Close()
		_, err = io.Copy(to, from)
		return err
	})
}
