package ort

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/onnxio/outfile"
)

// Install fetches the library with pip, else with npm, puts it into InstallFolder and loads it from
// there. It writes what it does to log, a line each. A library that cannot be loaded does not stay.
func Install(ctx context.Context, log io.Writer) (*Library, error) {
	if !supported {
		return Load("")
	}
	target, err := InstallFolder()
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "metaprune-onnxruntime-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	packed, err := download(ctx, work, log)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return nil, err
	}
	file, err := unpack(packed, target)
	if err != nil {
		return nil, err
	}
	l, err := Load(file)
	if err != nil {
		return nil, errors.Join(err, os.Remove(file))
	}
	_, err = fmt.Fprintf(log, "installed ONNX Runtime %s as %s\n", l.Version, file)
	return l, err
}

// download runs the first package manager that is there and returns the archive that it wrote.
func download(ctx context.Context, dir string, log io.Writer) (string, error) {
	settings := []string{"PIP_NO_DEPS=1", "PIP_ONLY_BINARY=:all:", "PIP_DISABLE_PIP_VERSION_CHECK=1"}
	commands := [][]string{
		{python(), "-m", "pip", "download", "-q", "onnxruntime"},
		{"npm", "pack", "-q", "onnxruntime-node"},
	}
	missing := &InstallError{}
	for _, c := range commands {
		program, err := exec.LookPath(c[0])
		if err == nil {
			program, err = filepath.Abs(program)
		}
		if err != nil {
			missing.Tried = append(missing.Tried, fmt.Errorf("%s is not installed", c[0]))
			continue
		}
		if _, err := fmt.Fprintf(log, "running %s in %s\n", strings.Join(c, " "), dir); err != nil {
			return "", err
		}
		command := exec.CommandContext(ctx, program, c[1:]...)
		command.Dir, command.Env = dir, append(os.Environ(), settings...)
		out, err := command.CombinedOutput()
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		found, _ := filepath.Glob(filepath.Join(dir, "onnxruntime*")) // the pattern is valid
		if err == nil && len(found) == 1 {
			return found[0], nil
		}
		missing.Tried = append(missing.Tried, fmt.Errorf("%s fetched no package: %s", c[0], lastLine(out, err)))
	}
	return "", missing
}

// lastLine is the last thing that a command said, but for where npm has put its log.
func lastLine(out []byte, err error) string {
	for _, line := range slices.Backward(strings.Split(string(out), "\n")) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "complete log") {
			return line
		}
	}
	return fmt.Sprint(err)
}

// unpack copies the library of a wheel or of an npm package into a folder and returns its path.
func unpack(packed, dir string) (string, error) {
	if strings.HasSuffix(packed, ".whl") {
		return unpackWheel(packed, dir)
	}
	return unpackNode(packed, dir)
}

func unpackWheel(packed, dir string) (string, error) {
	z, err := zip.OpenReader(packed)
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(packed), err)
	}
	defer z.Close()
	for _, f := range z.File {
		if !isLibrary(f.Name, "onnxruntime/capi") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return "", err
		}
		defer r.Close()
		return place(r, dir, path.Base(f.Name))
	}
	return "", &NoLibraryError{Package: filepath.Base(packed)}
}

func unpackNode(packed, dir string) (string, error) {
	file, err := os.Open(packed)
	if err != nil {
		return "", err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(packed), err)
	}
	for t := tar.NewReader(unzipped); ; {
		h, err := t.Next()
		if err == io.EOF {
			return "", &NoLibraryError{Package: filepath.Base(packed)}
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Base(packed), err)
		}
		if h.Typeflag == tar.TypeReg && isLibrary(h.Name, filepath.ToSlash(nodePlatform())) {
			return place(t, dir, path.Base(h.Name))
		}
	}
}

// isLibrary says whether an entry of an archive, in a folder that ends as given, is the library.
func isLibrary(entry, folder string) bool {
	folders, name := path.Split(entry)
	return strings.HasSuffix("/"+folders, "/"+folder+"/") && !strings.Contains(name, "providers") &&
		slices.ContainsFunc(fileNames(), func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok })
}

// place writes a file under its name once all of it is there.
func place(r io.Reader, dir, name string) (string, error) {
	file := filepath.Join(dir, name)
	return file, outfile.Write(file, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}
