//go:build !unix

package outfile

import (
	"errors"
	"os"
)

func duplicate(_ int, name string) (*os.File, error) {
	return nil, &os.PathError{Op: "open", Path: name, Err: errors.ErrUnsupported}
}

func chown(*os.File, os.FileInfo) {}

func synced(f *os.File) error { return f.Sync() }

func syncFolder(string) {}
