package data

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// remote is a file that Open downloads; the sum is of what it unpacks to.
type remote struct {
	url, file, sha256 string
	tar               bool // an archive whose .bin and .txt files are wanted
}

const fashion = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"

// remotes are the files of data sets that can be downloaded, where their sums are known.
var remotes = map[string][]remote{
	"fashion-mnist": {
		{url: fashion + "train-images-idx3-ubyte.gz", file: "train-images-idx3-ubyte", sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"},
		{url: fashion + "train-labels-idx1-ubyte.gz", file: "train-labels-idx1-ubyte", sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"},
		{url: fashion + "t10k-images-idx3-ubyte.gz", file: "t10k-images-idx3-ubyte", sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"},
		{url: fashion + "t10k-labels-idx1-ubyte.gz", file: "t10k-labels-idx1-ubyte", sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"},
	},
	"cifar10":  {{url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", tar: true, sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"}},
	"cifar100": {{url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", tar: true, sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"}},
}

// Cache is the folder that downloads go to.
func Cache() (string, error) {
	if dir := os.Getenv("METAPRUNE_DATA"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "metaprune"), err
}

// locate finds a named data set on disk, or downloads it.
func locate(name string, places []string) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	own := filepath.Join(cache, name)
	for _, dir := range append([]string{own}, places...) {
		if idxFile(dir, "t10k-images-idx3-ubyte") != "" || exists(filepath.Join(dir, "test_batch.bin")) || exists(filepath.Join(dir, "train.bin")) {
			return dir, nil
		}
	}
	files := remotes[name]
	if files == nil {
		return "", fmt.Errorf("%s is not in %s, and no download is known for it; give its folder as %s:FOLDER", name, own, name)
	}
	if err := download(own, files); err != nil {
		hint := ""
		if name == "fashion-mnist" {
			hint = " (Debian's package dataset-fashion-mnist has it too)"
		}
		return "", fmt.Errorf("%s is not on this machine and could not be downloaded: %w; give its folder as %s:FOLDER%s", name, err, name, hint)
	}
	return own, nil
}

// download fetches files into a folder that appears only when all of them are right.
func download(dir string, files []remote) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), ".part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	client := &http.Client{Timeout: 30 * time.Minute}
	for _, f := range files {
		if err := f.get(client, part); err != nil {
			return err
		}
	}
	if err := os.Rename(part, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func (f remote) get(client *http.Client, dir string) error {
	r, err := client.Get(f.url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", f.url, r.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxUnpacked))
	if err != nil {
		return fmt.Errorf("%s: %w", f.url, err)
	}
	sum := raw
	if !f.tar {
		if raw, err = unpack(f.url, raw); err != nil {
			return err
		}
		sum = raw
	}
	if got := sha256.Sum256(sum); hex.EncodeToString(got[:]) != f.sha256 {
		return fmt.Errorf("%s: SHA-256 is %x, want %s", f.url, got, f.sha256)
	}
	if !f.tar {
		return os.WriteFile(filepath.Join(dir, f.file), raw, 0o644)
	}
	return untar(f.url, raw, dir)
}

// untar writes an archive's .bin and .txt files, without their folders.
func untar(name string, raw []byte, dir string) error {
	raw, err := unpack(name, raw)
	if err != nil {
		return err
	}
	t := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		base := filepath.Base(h.Name)
		if h.Typeflag != tar.TypeReg || !strings.HasSuffix(base, ".bin") && !strings.HasSuffix(base, ".txt") {
			continue
		}
		body, err := io.ReadAll(io.LimitReader(t, maxUnpacked))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, base), body, 0o644); err != nil {
			return err
		}
	}
}
