package outfile

import "io"

// Batch is the files that a command writes at its end: all of them are written in full before the first gets its name, so that a disk that is full leaves all of them as they were. The zero value is an empty batch.
type Batch struct {
	writer
	through []func() error // writes to streams
	commits []func() error
	drop    []func()
}

// Add writes a file beside the name that it will get. What goes to a stream is written by Commit.
func (b *Batch) Add(name string, write func(io.Writer) error) error {
	t, err := Resolve(name)
	if err != nil {
		return err
	}
	if t.Stream() {
		b.Through(func() error { return t.through(write) })
		return nil
	}
	d, err := b.temporary(t, write)
	if err != nil {
		return err
	}
	b.drop = append(b.drop, d.discard)
	b.commits = append(b.commits, func() error { return b.rename(d, t) })
	return nil
}

// AddBytes is Add for what is in memory.
func (b *Batch) AddBytes(name string, data []byte) error {
	return b.Add(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// AddPair is Add for a model and its data file.
func (b *Batch) AddPair(name string, p Pair) error {
	r, err := b.preparePair(name, &p)
	if err != nil {
		return err
	}
	b.drop = append(b.drop, r.discard)
	b.commits = append(b.commits, func() error { return r.commit(b.writer) })
	return nil
}

// Through has Commit write to a stream, such as standard output.
func (b *Batch) Through(write func() error) { b.through = append(b.through, write) }

// Commit writes to the streams and then gives the files their names, in the order in which they were added. It stops at the first error.
func (b *Batch) Commit() error {
	for _, do := range append(b.through, b.commits...) {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// Discard removes what has no name yet. It is called at the end in any case.
func (b *Batch) Discard() {
	for _, drop := range b.drop {
		drop()
	}
}
