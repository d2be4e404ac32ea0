package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/metaprune/metaprune/onnxio/outfile"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file://
	_ "gocloud.dev/blob/s3blob"   // s3://
)

// Is reports whether a name is a bucket's URL rather than a folder of the host.
func Is(name string) bool { return strings.Contains(name, "://") }

// Name is what an object is called, whatever its bucket's URL says about how to get there.
func Name(url, path string) string {
	url, _, _ = strings.Cut(url, "?")
	return strings.TrimSuffix(url, "/") + "/" + strings.TrimPrefix(path, "/")
}

// Bucket is a place in object storage.
type Bucket struct {
	URL    string
	bucket *blob.Bucket
	prefix string
}

// Open opens the bucket of a URL. A folder of the host is made where it is missing.
func Open(ctx context.Context, url string) (*Bucket, error) {
	own, prefix := url, ""
	if rest, ok := strings.CutPrefix(url, "s3://"); ok {
		name, query, hasQuery := strings.Cut(rest, "?")
		name, path, _ := strings.Cut(name, "/")
		own, prefix = "s3://"+name, path
		if hasQuery {
			own += "?" + query
		}
	}
	if rest, ok := strings.CutPrefix(url, "file://"); ok {
		if !strings.HasPrefix(rest, "/") {
			return nil, fmt.Errorf("%s: want three slashes before the folder, file:///FOLDER", url)
		}
		folder, _, _ := strings.Cut(rest, "?")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
		own = "file://" + folder + "?metadata=skip&no_tmp_dir=true"
	}
	b, err := blob.OpenBucket(ctx, own)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return &Bucket{url, b, prefix}, nil
}

// Close ends the connection.
func (b *Bucket) Close() error { return b.bucket.Close() }

// List returns the names of the objects below a folder ("" for all), in order.
func (b *Bucket) List(ctx context.Context, folder string) ([]string, error) {
	var out []string
	prefix := b.prefix + folder
	if folder != "" {
		prefix += "/"
	}
	for it := b.bucket.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			slices.Sort(out)
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.URL, err)
		}
		if !o.IsDir {
			out = append(out, strings.TrimPrefix(o.Key, b.prefix))
		}
	}
}

// download writes an object to a file, beside it first.
func (b *Bucket) download(ctx context.Context, name, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	err := outfile.Write(path, func(w io.Writer) error { return b.bucket.Download(ctx, b.prefix+name, w, nil) })
	if err != nil {
		return fmt.Errorf("%s: %s: %w", b.URL, name, err)
	}
	return nil
}

func (b *Bucket) upload(ctx context.Context, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := b.bucket.Upload(ctx, b.prefix+name, f, &blob.WriterOptions{ContentType: "application/octet-stream"}); err != nil {
		return fmt.Errorf("%s: %s: %w", b.URL, name, err)
	}
	return nil
}

// Fetch brings the objects that want accepts, by their names below the bucket, to a folder.
func (b *Bucket) Fetch(ctx context.Context, folder string, want func(name string) bool) error {
	names, err := b.List(ctx, "")
	if err != nil {
		return err
	}
	for _, name := range names {
		if want(name) {
			if err := b.download(ctx, name, filepath.Join(folder, filepath.FromSlash(name))); err != nil {
				return err
			}
		}
	}
	return nil
}

// Mirror is a folder of the bucket and its copy on this machine.
type Mirror struct {
	bucket *Bucket
	name   string // in the bucket
	folder string // here
	last   string // file that goes up after all others
	have   map[string]stamp
}

// stamp tells whether a file has changed.
type stamp struct {
	size int64
	time time.Time
}

// Mirror returns the mirror of the bucket's folder name below folder. The file called last goes up after the others: it says that they are there.
func (b *Bucket) Mirror(name, folder, last string) *Mirror {
	return &Mirror{b, name, filepath.Join(folder, name), last, map[string]stamp{}}
}

// Pull brings down everything that is in the bucket.
func (m *Mirror) Pull(ctx context.Context) error {
	names, err := m.bucket.List(ctx, m.name)
	if err != nil {
		return err
	}
	for _, name := range names {
		rel := strings.TrimPrefix(name, m.name+"/")
		path := filepath.Join(m.folder, filepath.FromSlash(rel))
		if err := m.bucket.download(ctx, name, path); err != nil {
			return err
		}
		if m.have[rel], err = stampOf(path); err != nil {
			return err
		}
	}
	return nil
}

// Push brings up what has changed here since the last Pull or Push.
func (m *Mirror) Push(ctx context.Context) error {
	changed := map[string]stamp{}
	err := filepath.WalkDir(m.folder, func(path string, d fs.DirEntry, err error) error {
		if path == m.folder && errors.Is(err, fs.ErrNotExist) {
			return nil // nothing was made
		}
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(m.folder, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		s, err := stampOf(path)
		if errors.Is(err, fs.ErrNotExist) || strings.HasSuffix(rel, ".tmp") || strings.HasPrefix(d.Name(), ".") {
			return nil // on its way to another name
		}
		if err == nil && s != m.have[rel] {
			changed[rel] = s
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, rel := range m.order(changed) {
		err := m.bucket.upload(ctx, filepath.Join(m.folder, filepath.FromSlash(rel)), m.name+"/"+rel)
		if err != nil {
			return err
		}
		m.have[rel] = changed[rel]
	}
	return nil
}

// order lists files by name, the last one at the end.
func (m *Mirror) order(files map[string]stamp) []string {
	var out []string
	for name := range files {
		if name != m.last {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	if _, ok := files[m.last]; ok {
		out = append(out, m.last)
	}
	return out
}

func stampOf(path string) (stamp, error) {
	i, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{i.Size(), i.ModTime()}, nil
}
