package ort

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Variable is the environment variable that names the library's file. Where it is set, no other
// library is looked for.
const Variable = "METAPRUNE_ORT"

// pythonQuestion makes Python say where the package onnxruntime lies, without importing it.
const pythonQuestion = `import importlib.util as u; s = u.find_spec("onnxruntime"); print(s.submodule_search_locations[0] if s else "")`

// pythonPatience is how long Python may take to answer.
const pythonPatience = 10 * time.Second

// Find loads the first library that works, in the order of Candidates.
func Find() (*Library, error) {
	missing := &NotFoundError{}
	if !supported {
		_, err := Load("")
		return nil, err
	}
	for path := range Candidates {
		l, err := Load(path)
		if err == nil {
			return l, nil
		}
		if os.Getenv(Variable) != "" {
			return nil, err
		}
		missing.Tried = append(missing.Tried, err)
	}
	return nil, missing
}

// Candidates yields files that may be the library, best first: what METAPRUNE_ORT names and nothing
// else, or the libraries beside the program, of the active Python environment, of node_modules, of
// the system, of the user, and last of python3, which has to be started for that.
func Candidates(yield func(path string) bool) {
	if path := os.Getenv(Variable); path != "" {
		yield(path)
		return
	}
	seen := map[string]bool{}
	all := func(dirs []string) bool {
		for _, d := range dirs {
			for _, f := range libraries(d) {
				if !seen[f] {
					seen[f] = true
					if !yield(f) {
						return false
					}
				}
			}
		}
		return true
	}
	if all(folders()) {
		all(pythonFolders())
	}
}

// folders are the folders (patterns of them) that hold libraries, best first.
func folders() []string {
	var dirs []string
	if exe, err := os.Executable(); err == nil {
		dir := filepath.Dir(exe)
		dirs = append(dirs, dir, filepath.Join(dir, "..", "lib"))
	}
	for _, variable := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if root := os.Getenv(variable); root != "" {
			dirs = append(dirs,
				filepath.Join(root, "lib", "python3*", "site-packages", "onnxruntime", "capi"),
				filepath.Join(root, "Lib", "site-packages", "onnxruntime", "capi"),
				filepath.Join(root, "lib"), filepath.Join(root, "Library", "bin"))
		}
	}
	dirs = append(dirs, filepath.Join("node_modules", "onnxruntime-node", "bin", "napi-v*", nodePlatform()))
	if runtime.GOOS != "windows" {
		dirs = append(dirs, "/opt/homebrew/lib", "/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/*-linux-gnu")
	}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".local", "lib", "onnxruntime"))
	}
	if dir, err := InstallFolder(); err == nil {
		dirs = append(dirs, dir)
	}
	return dirs
}

// nodePlatform is the folder of this platform in the npm package onnxruntime-node.
func nodePlatform() string {
	system, machine := runtime.GOOS, runtime.GOARCH
	if system == "windows" {
		system = "win32"
	}
	if machine == "amd64" {
		machine = "x64"
	}
	return filepath.Join(system, machine)
}

func python() string { return cmp.Or(os.Getenv("METAPRUNE_PYTHON"), "python3") }

// pythonFolders asks Python where its package lies: that of METAPRUNE_PYTHON, else python3.
func pythonFolders() []string {
	ctx, cancel := context.WithTimeout(context.Background(), pythonPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, python(), "-c", pythonQuestion).Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		return nil
	}
	return []string{filepath.Join(dir, "capi")}
}

// libraries lists the files in a folder that are called like the library, by their real names.
func libraries(pattern string) []string {
	var found []string
	for _, name := range fileNames() {
		matches, _ := filepath.Glob(filepath.Join(pattern, name)) // the patterns are valid
		for _, f := range matches {
			real, err := filepath.EvalSymlinks(f)
			if err != nil {
				continue
			}
			if real, err = filepath.Abs(real); err == nil && !slices.Contains(found, real) && !strings.Contains(filepath.Base(real), "providers") {
				found = append(found, real)
			}
		}
	}
	return found
}

// fileNames are what the library's file is called: by Python's package, npm's, a distribution's.
func fileNames() []string {
	switch runtime.GOOS {
	case "windows":
		return []string{"onnxruntime.dll"}
	case "darwin":
		return []string{"libonnxruntime.dylib", "libonnxruntime.*.dylib"}
	}
	return []string{"libonnxruntime.so", "libonnxruntime.so.*"}
}

// InstallFolder is the folder in the user's cache that Install puts a library into.
func InstallFolder() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "metaprune", "onnxruntime"), nil
}
