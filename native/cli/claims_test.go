//go:build unix

package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// external returns small with layers of 512 channels, whose weights lie in the files e.data and f.bin of a folder.
func external(t *testing.T, dir string) *onnxio.Model {
	t.Helper()
	m := small()
	for i, name := range []string{"e.data", "f.bin"} {
		w := m.Graph.Initializers[i]
		w.Dims[1-i] = 512
		w.Dims[i] = 4
		raw := make([]byte, 4*512*4)
		for k := range raw {
			raw[k] = byte(k % 61)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), raw, 0o600))
		w.RawData = nil
		w.SetExternal(name, 0, int64(len(raw)))
	}
	m.Graph.Outputs[0].Type.Tensor.Shape.Dims[1].Value = 4
	return m
}

// written is an output of a command: what its flag says for a name without ending, and the file that this stands for.
type written struct{ flag, file string }

// claimed is a command with its inputs, which lie in the folder of the test, and its outputs. In args, <NAME is an input and >NAME an output.
type claimed struct {
	args    string
	reads   []string
	writes  map[string]written
	control string // what a run without a clash ends with; "" without an error
}

var model = written{".onnx", ".onnx"}

func claimedCommands() []claimed {
	svg, tensors, table := written{".svg", ".svg"}, written{".safetensors", ".safetensors"}, written{".json", ".json"}
	out := map[string]written{"out": model, "out's data": {".onnx", ".onnx.data"}}
	with := func(more map[string]written) map[string]written {
		all := map[string]written{}
		for _, m := range []map[string]written{out, more} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	weights := []string{"m.onnx", "e.data", "f.bin"}
	reads := func(more ...string) []string { return append(append([]string(nil), weights...), more...) }
	const data = "zip"
	run := with(map[string]written{"run": {".onnx", ".run/best.onnx"}, "checkpoint": {".onnx", ".run/checkpoint.safetensors"}})
	return []claimed{
		{"prune <m.onnx --speed-up 1.1 --criterion metanet --metanet <w.safetensors -o >out --plan >plan", reads("w.safetensors"), with(map[string]written{"plan": table}), ""},
		{"prune <m.onnx --speed-up 1.1 --allocation <a.json --calibrate <n.npz -o >out --plan >plan --backend go", reads("a.json", "n.npz"), with(map[string]written{"plan": table, "repaired": {".json", ".repaired.safetensors"}}), data},
		{"prune <m.onnx --speed-up 1.1 --calibrate <photos -o >out --backend go", reads("photos/1.png", "photos/class/2.jpg"), out, "got pictures"},
		{"prune <m.onnx --accuracy 0.9 --images <i-ubyte --labels <l-ubyte -o >out --backend go", reads("i-ubyte", "l-ubyte"), out, "not an IDX file"},
		{"prune <m.onnx --from-plan <p.json -o >out", reads("p.json", "p.repaired.safetensors"), out, "repaired tensors"},
		{"prune <m.onnx --speed-up 1.1 --dry-run --plan >plan", weights, map[string]written{"plan": table}, ""},
		{"inline <m.onnx -o >out", weights, out, ""},
		{"graph <m.onnx -o >out", weights, map[string]written{"out": svg}, ""},
		{"explain <m.onnx w1 --draw >out --draw >dot", weights, map[string]written{"out": svg, "dot": {".dot", ".dot"}}, ""},
		{"analyse <m.onnx --metanet <w.safetensors --data <n.npz --plot >out --backend go", reads("w.safetensors", "n.npz"), map[string]written{"out": svg}, data},
		{"curve <m.onnx --criterion metanet --metanet <w.safetensors --allocation <a.json --data <n.npz --calibrate <c.npz --csv >csv --plot >svg --plot >png -o >points --backend go", reads("w.safetensors", "a.json", "n.npz", "c.npz"),
			map[string]written{"csv": {".csv", ".csv"}, "svg": svg, "png": {".png", ".png"}, "points": {"", "/m.none/points.json"}}, data},
		{"allocate <m.onnx --data <n.npz -o >out --backend go", reads("n.npz"), map[string]written{"out": table}, data},
		{"metanet forward <g.safetensors --metanet <w.safetensors -o >out", []string{"g.safetensors", "w.safetensors"}, map[string]written{"out": tensors}, "g.safetensors"},
		{"metanet convert <w.safetensors -o >out", []string{"w.safetensors"}, map[string]written{"out": tensors}, "w.safetensors"},
		{"train <m.onnx --data <n.npz --teacher <o.onnx -o >out --backend go", reads("n.npz", "o.onnx", "o.onnx.data"), run, "n.npz"},
		{"finetune <m.onnx --data <n.npz --teacher <o.onnx -o >out --backend go", reads("n.npz", "o.onnx", "o.onnx.data"), run, "n.npz"},
		{"pipeline <m.onnx --data <n.npz --metanet <w.safetensors -o >out --backend go", reads("n.npz", "w.safetensors"), out, "n.npz"},
		{"metatrain <m.onnx --data <n.npz --metanet <w.safetensors --validate <o.onnx -o >out --backend go", reads("n.npz", "w.safetensors", "o.onnx", "o.onnx.data"),
			map[string]written{"out": tensors, "run": {".safetensors", ".run/metanet.safetensors"}}, data},
	}
}

// inputs makes a folder with the files that the commands read; those that no command gets to read hold nothing that could be read.
func inputs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	require.NoError(t, external(t, dir).Save(at("m.onnx")))
	f, err := onnxio.Open(at("m.onnx"))
	require.NoError(t, err)
	require.NoError(t, f.SaveExternal(at("o.onnx"), false))
	require.NoError(t, f.Close())
	ok(t, "metanet", "new", "--hidden", "4", "--layers", "2", "-o", at("w.safetensors"))
	ok(t, "prune", at("m.onnx"), "--speed-up", "1.1", "--dry-run", "--plan", at("p.json"), "-q")
	plan := strings.Replace(string(read(t, at("p.json"))), "{", `{"repaired":{"file":"p.repaired.safetensors","sha256":"`+strings.Repeat("0", 64)+`"},`, 1)
	require.NoError(t, os.MkdirAll(at("photos/class"), 0o755))
	for name, text := range map[string]string{"p.json": plan, "p.repaired.safetensors": "x", "a.json": "{}", "n.npz": "x", "c.npz": "x", "i-ubyte": "x", "l-ubyte": "x", "photos/1.png": "x", "photos/class/2.jpg": "x"} {
		require.NoError(t, os.WriteFile(at(name), []byte(text), 0o600))
	}
	g := &safetensors.File{Tensors: map[string]*safetensors.Tensor{"nothing": safetensors.FloatTensor([]float32{1}, 1)}}
	require.NoError(t, os.WriteFile(at("g.safetensors"), g.Bytes(), 0o600))
	return dir
}

// contents are all files below a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			out[path] = string(read(t, path))
		}
		return err
	}))
	return out
}

// line fills in a command's arguments; outputs are below folder, by the names that bases has, or by their own.
func (c *claimed) line(dir, folder string, bases map[string]string) []string {
	var args []string
	for _, a := range strings.Fields(c.args) {
		switch a[0] {
		case '<':
			a = filepath.Join(dir, a[1:])
		case '>':
			name := a[1:]
			a = bases[name]
			if a == "" {
				a = filepath.Join(folder, name) + c.writes[name].flag
			}
		}
		args = append(args, a)
	}
	return append(args, "-q")
}

// flagged is the output whose flag says where a file goes.
func (c *claimed) flagged(name string) string {
	for _, a := range strings.Fields(c.args) {
		if a == ">"+name {
			return name
		}
	}
	if name == "repaired" {
		return "plan"
	}
	return "out"
}

// sameFiles makes a second name at path for a file, in every way there is.
var sameFiles = map[string]func(t *testing.T, file, path string){
	"symbolic link": func(t *testing.T, file, path string) { require.NoError(t, os.Symlink(file, path)) },
	"hard link": func(t *testing.T, file, path string) {
		if _, err := os.Stat(file); err != nil {
			t.Skip("nothing to link to")
		}
		require.NoError(t, os.Link(file, path))
	},
	"link to a link": func(t *testing.T, file, path string) {
		require.NoError(t, os.Symlink(file, path+".other"))
		require.NoError(t, os.Symlink(filepath.Base(path)+".other", path))
	},
}

// refused runs a command whose output is a file that it reads or writes as well: exit code 2, both uses named, and nothing changed.
func refused(t *testing.T, dir string, args []string) {
	t.Helper()
	before := contents(t, dir)
	code, out, said := run(t, args...)
	require.Equal(t, exitInput, code, "%s\n%s%s", args, out, said)
	require.Regexp(t, `would be (overwritten|written twice): .*it (is read as \S.* and would be written as|would be written as \S.* and as) \S.*; choose another name`, said, "%s", args)
	require.Equal(t, before, contents(t, dir), "%s", args)
}

// Every command, every output and every file that it reads or writes besides: under the same name, another spelling of it, and links.
func TestNoCommandOverwritesItsFiles(t *testing.T) {
	dir := inputs(t)
	for _, c := range claimedCommands() {
		t.Run(strings.Join(strings.Fields(c.args)[:2], " "), func(t *testing.T) {
			for name, w := range c.writes {
				for _, r := range c.reads {
					c.pair(t, dir, name, w, filepath.Join(dir, r))
				}
				for other := range c.writes {
					if c.flagged(other) != c.flagged(name) {
						c.pair(t, dir, name, w, "@"+other)
					}
				}
			}
			free := t.TempDir()
			code, _, said := run(t, c.line(dir, free, nil)...)
			require.NotContains(t, said, "choose another name")
			require.Equal(t, c.control == "", code == exitOK, "%s", said)
			require.Contains(t, said, c.control)
		})
	}
}

// pair tries all ways in which an output can be a file; "@NAME" is the file of another output, which need not be there.
func (c *claimed) pair(t *testing.T, dir, name string, w written, file string) {
	t.Helper()
	for way, link := range sameFiles {
		t.Run(fmt.Sprintf("%s is %s by %s", name, filepath.Base(file), way), func(t *testing.T) {
			if way == "hard link" && strings.Contains(file, "photos") {
				t.Skip("the picture keeps its own name, so it is not overwritten")
			}
			folder, file := t.TempDir(), file
			if other, ok := strings.CutPrefix(file, "@"); ok {
				file = filepath.Join(folder, c.flagged(other)+c.writes[other].file)
				require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
				if way == "hard link" {
					require.NoError(t, os.WriteFile(file, []byte("old"), 0o600))
				}
			}
			path := filepath.Join(folder, "linked"+w.file)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			link(t, file, path)
			refused(t, dir, c.line(dir, folder, map[string]string{c.flagged(name): filepath.Join(folder, "linked"+w.flag)}))
		})
	}
	if strings.HasPrefix(file, "@") || w.flag != w.file {
		return
	}
	folder := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Dir(file), filepath.Join(folder, "folder")))
	for _, spelling := range []string{file, filepath.Dir(file) + "/./" + filepath.Base(file), filepath.Join(folder, "folder", filepath.Base(file))} {
		refused(t, dir, c.line(dir, folder, map[string]string{name: spelling}))
	}
}

// What the users did: the model renamed, and its data file where the output's would go.
func TestRenamedModelKeepsItsData(t *testing.T) {
	dir := inputs(t)
	at := func(n string) string { return filepath.Join(dir, n) }
	require.NoError(t, os.Rename(at("o.onnx"), at("renamed.onnx")))
	before := contents(t, dir)
	code, _, said := run(t, "prune", at("renamed.onnx"), "--speed-up", "1.1", "-o", at("o.onnx"))
	require.Equal(t, exitInput, code)
	require.Contains(t, said, at("o.onnx.data")+" would be overwritten: it is read as external data of "+at("renamed.onnx")+" and would be written as the weights of "+at("o.onnx")+"; choose another name for the output")
	require.Equal(t, before, contents(t, dir))

	code, _, said = run(t, "prune", at("renamed.onnx"), "--speed-up", "1.1", "-o", at("o.onnx"), "--json")
	require.Equal(t, exitInput, code)
	require.Contains(t, said, `{"error":{"kind":"usage","where":"`+at("o.onnx.data")+`","want":"a file of its own for the weights of `+at("o.onnx")+`","got":"external data of `+at("renamed.onnx")+`"`)
	code, _, said = run(t, "prune", at("m.onnx"), "--speed-up", "1.1", "-o", at("none/o.onnx"), "--json")
	require.Equal(t, exitInput, code)
	require.Contains(t, said, `{"error":{"kind":"io","where":"`+at("none/o.onnx")+`","got":"folder `+at("none")+` does not exist"`)

	// Another model's output there would lose the data too; --force says that it may.
	code, _, said = run(t, "prune", at("m.onnx"), "--speed-up", "1.1", "-o", at("o.onnx"))
	require.Equal(t, exitInput, code)
	require.Contains(t, said, at("o.onnx.data")+", which exists and may belong to another model")
	require.Equal(t, before, contents(t, dir))
	ok(t, "prune", at("m.onnx"), "--speed-up", "1.1", "-o", at("o.onnx"), "--force")
	ok(t, "inspect", at("o.onnx"))
	ok(t, "prune", at("m.onnx"), "--speed-up", "1.2", "-o", at("o.onnx")) // its own data file is replaced with it
}

func TestOutputNamedAfterTheModel(t *testing.T) {
	dir := inputs(t)
	at := func(n string) string { return filepath.Join(dir, n) }
	require.Contains(t, ok(t, "prune", at("m.onnx"), "--speed-up", "1.1"), "wrote "+at("m.pruned.onnx"))
	require.FileExists(t, at("m.pruned.onnx.data"))
	before := contents(t, dir)
	code, _, said := run(t, "prune", at("m.onnx"), "--speed-up", "1.2")
	require.Equal(t, exitInput, code)
	require.Contains(t, said, at("m.pruned.onnx")+" exists: overwrite it with --force, or choose another name with -o FILE")
	require.Equal(t, before, contents(t, dir))
	ok(t, "prune", at("m.onnx"), "--speed-up", "1.2", "--force", "-q")
	require.NotEqual(t, before[at("m.pruned.onnx")], string(read(t, at("m.pruned.onnx"))))
	ok(t, "inline", at("m.onnx"), "-q")
	ok(t, "inspect", at("m.inlined.onnx"))
	require.Equal(t, "model.onnx.txt", stem("model.onnx.txt"))
	require.Equal(t, "a/Model", stem("a/Model.ONNX"))
	for _, command := range [][]string{{"prune", "-", "--speed-up", "2"}, {"inline", "-"}} {
		code, _, said = run(t, command...)
		require.Equal(t, exitInput, code)
		require.Contains(t, said, "the model comes from a pipe, so that the output has no name: name it with -o FILE, or -o - for standard output")
	}
}

// Outputs that are named after something else than the model are not overwritten either, unless the run that wrote them goes on.
func TestOutputsNamedByDefault(t *testing.T) {
	dir := inputs(t)
	t.Chdir(dir)
	for _, name := range []string{"mlp.onnx", "m.trained.onnx", "metanet.safetensors"} {
		require.NoError(t, os.WriteFile(name, []byte("old"), 0o600))
	}
	for command, record := range map[string]string{
		"new mlp":                                    "",
		"train m.onnx --data n.npz":                  "m.trained.run/config.json",
		"finetune m.onnx --data n.npz":               "m.trained.run/config.json",
		"pipeline m.onnx --data n.npz --own-weights": "m.trained.pipeline/pipeline.json",
		"metatrain m.onnx --data n.npz --backend go": "metanet.run/config.json",
	} {
		args := strings.Fields(command)
		before := contents(t, dir)
		code, _, said := run(t, args...)
		require.Equal(t, exitInput, code, command)
		require.Contains(t, said, "exists: overwrite it with --force, or choose another name with -o FILE", command)
		require.Equal(t, before, contents(t, dir), command)
		if record == "" {
			ok(t, append(args, "--force", "-q")...)
			continue
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(record), 0o755))
		require.NoError(t, os.WriteFile(record, []byte("{}"), 0o600))
		for _, more := range [][]string{nil, {"--force"}} {
			_, _, said = run(t, append(args, more...)...)
			require.Contains(t, said, "n.npz", command)
			require.NoError(t, os.RemoveAll(filepath.Dir(record)))
		}
	}
}

// The same pipe or open file cannot take two outputs; a device can.
func TestOutputsThatAreNoFiles(t *testing.T) {
	dir := inputs(t)
	at := func(n string) string { return filepath.Join(dir, n) }
	require.NoError(t, syscall.Mkfifo(at("pipe"), 0o600))
	code, _, said := run(t, "prune", at("m.onnx"), "--speed-up", "1.1", "-o", at("pipe"), "--plan", at("pipe"))
	require.Equal(t, exitInput, code)
	require.Contains(t, said, "pipe would be written twice: it would be written as the pruned model and as the new plan; choose another name for one of them")
	got := make(chan []byte)
	go func() {
		b, _ := os.ReadFile(at("pipe"))
		got <- b
	}()
	ok(t, "prune", at("m.onnx"), "--speed-up", "1.1", "-o", at("pipe"), "-q")
	m, err := onnxio.Decode(<-got, nil)
	require.NoError(t, err)
	require.False(t, m.HasExternal(), "the weights are inside")
	info, err := os.Lstat(at("pipe"))
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeNamedPipe)

	// Of a link into another folder the target is replaced, with the weights inside: no data file would be found from both names.
	require.NoError(t, os.Mkdir(at("sub"), 0o755))
	require.NoError(t, os.Symlink("sub/real.onnx", at("link.onnx")))
	ok(t, "prune", at("m.onnx"), "--speed-up", "1.1", "-o", at("link.onnx"), "-q")
	require.Contains(t, ok(t, "verify", at("m.onnx"), at("link.onnx"), "--allow-uncompared"), "same")
	require.Equal(t, []string{"real.onnx"}, filesIn(t, at("sub")))
}

// No other code than outfile's writes files under names that users gave: what else makes files makes temporary ones, or folders that appear as a whole.
func TestOneWriter(t *testing.T) {
	makers := regexp.MustCompile(`\bos\.(Create|WriteFile|OpenFile|CreateTemp|Rename|Link|Symlink)\(`)
	own := map[string]bool{"native/server/server.go": true, "native/server/spool.go": true, "native/data/fetch.go": true, "native/spill/spill.go": true}
	root, seen := filepath.Join("..", ".."), 0
	for _, folder := range []string{"native", "onnxio", "graphcodec", "prune", "metanet", "xla"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, folder), func(path string, e fs.DirEntry, err error) error {
			name, _ := filepath.Rel(root, path)
			if err != nil || e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "onnxio/outfile/") {
				return err
			}
			seen++
			if !own[name] {
				require.Empty(t, makers.FindAllString(string(read(t, path)), -1), "%s: write files through onnxio/outfile", name)
			}
			return nil
		}))
	}
	require.Greater(t, seen, 200)
}

// A new command with an output is in the table above.
func TestEveryCommandWithOutputsIsChecked(t *testing.T) {
	without := map[string]string{"new": "reads nothing", "metanet new": "reads nothing", "datamodels": "reads data alone", "task": "runs other commands"}
	table := ""
	for _, c := range claimedCommands() {
		table += "\n" + c.args
	}
	a := &app{}
	var visit func(c *cobra.Command, path string)
	visit = func(c *cobra.Command, path string) {
		for _, sub := range c.Commands() {
			visit(sub, strings.TrimSpace(path+" "+sub.Name()))
		}
		for _, flag := range []string{"output", "plot", "csv", "draw"} {
			if c.Flags().Lookup(flag) != nil && without[path] == "" {
				require.Contains(t, table, "\n"+path+" <", "%s has --%s", path, flag)
			}
		}
	}
	visit(a.root(), "")
}
