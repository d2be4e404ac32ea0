//go:build unix

package outfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Mode().Perm()
}

func TestModeAndUmask(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, mask := range []int{0o022, 0o077, 0o002} {
		before := syscall.Umask(mask)
		err := Write(path, text("new"))
		syscall.Umask(before)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o666&^mask), mode(t, path))
		require.NoError(t, os.Remove(path))
	}
	for _, m := range []fs.FileMode{0o600, 0o640, 0o666, 0o755} {
		require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
		require.NoError(t, os.Chmod(path, m))
		require.NoError(t, Write(path, text("new")))
		require.Equal(t, m, mode(t, path))
		require.Equal(t, "new", read(t, path))
		require.NoError(t, os.Remove(path))
	}
	require.Empty(t, names(t, dir))
}

func TestOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("root alone can give a file another owner")
	}
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, nil, 0o640))
	require.NoError(t, os.Chown(path, 12, 34))
	require.NoError(t, Write(path, text("new")))
	info, err := os.Stat(path)
	require.NoError(t, err)
	s := info.Sys().(*syscall.Stat_t)
	require.Equal(t, []uint32{12, 34}, []uint32{s.Uid, s.Gid})
	require.Equal(t, fs.FileMode(0o640), info.Mode().Perm())
}

func TestLinks(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	require.NoError(t, os.Mkdir(at("sub"), 0o755))
	require.NoError(t, os.WriteFile(at("sub/real"), []byte("old"), 0o600))
	for link, to := range map[string]string{"direct": "sub/real", "absolute": at("sub/real"), "second": "direct", "dangling": "sub/made", "dotted": "sub/../sub/other"} {
		require.NoError(t, os.Symlink(to, at(link)))
	}
	for link, target := range map[string]string{"direct": "sub/real", "absolute": "sub/real", "second": "sub/real", "dangling": "sub/made", "dotted": "sub/other"} {
		require.NoError(t, Write(at(link), text(link)), link)
		require.Equal(t, link, read(t, at(target)))
		info, err := os.Lstat(at(link))
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&os.ModeSymlink, "%s is a link still", link)
	}
	require.Equal(t, fs.FileMode(0o600), mode(t, at("sub/real")))
	require.Equal(t, []string{"made", "other", "real"}, names(t, at("sub")))

	require.NoError(t, os.Symlink("nowhere/f", at("lost")))
	require.ErrorContains(t, Write(at("lost"), text("")), "lost: folder "+at("nowhere")+", which the link "+at("lost")+" points into, does not exist")
	require.NoError(t, os.Symlink("round", at("round")))
	require.ErrorContains(t, Write(at("round"), text("")), "too many levels of symbolic links")

	// A folder that is a link: its ".." is that of the folder it points to.
	require.NoError(t, os.MkdirAll(at("a/b"), 0o755))
	require.NoError(t, os.Symlink("a/b", at("b")))
	require.NoError(t, Write(at("b")+"/../f", text("in a")))
	require.Equal(t, "in a", read(t, at("a/f")))
	require.NoFileExists(t, at("f"))

	// Another name of a file that is replaced keeps what the file held.
	require.NoError(t, os.Link(at("sub/real"), at("hard")))
	before := read(t, at("hard"))
	require.NoError(t, Write(at("sub/real"), text("newer")))
	require.Equal(t, before, read(t, at("hard")))
}

func TestStreams(t *testing.T) {
	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.Symlink("pipe", link))
	for _, name := range []string{pipe, link} {
		got := make(chan string)
		go func() {
			b, _ := os.ReadFile(pipe)
			got <- string(b)
		}()
		require.NoError(t, Write(name, text("through "+name)))
		require.Equal(t, "through "+name, <-got)
		info, err := os.Lstat(pipe)
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&os.ModeNamedPipe)
	}
	require.Equal(t, []string{"link", "pipe"}, names(t, dir))

	// An open file of this process is written to at the place where it is.
	f, err := os.Create(filepath.Join(dir, "open"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("first, ")
	require.NoError(t, err)
	for _, name := range []string{fmt.Sprintf("/dev/fd/%d", f.Fd()), fmt.Sprintf("/proc/self/fd/%d", f.Fd())} {
		if _, err := os.Stat(name); err != nil {
			continue
		}
		require.NoError(t, Write(name, text(filepath.Dir(name)+", ")))
	}
	_, err = f.WriteString("last")
	require.NoError(t, err)
	require.Equal(t, "first, /dev/fd, /proc/self/fd, last", read(t, f.Name()))

	// A reader that goes away is an error with the name that was given.
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	require.NoError(t, r.Close())
	name := fmt.Sprintf("/dev/fd/%d", w.Fd())
	require.ErrorContains(t, Write(name, text("lost")), name+": broken pipe; a part of it may have been written")
	require.ErrorContains(t, Write("/dev/fd/987", text("lost")), "/dev/fd/987: bad file descriptor")
}

func TestFoldersThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	require.NoError(t, os.WriteFile(at("file"), []byte("old"), 0o600))
	for name, want := range map[string]string{
		at("none/f"):    at("none/f") + ": folder " + at("none") + " does not exist",
		at("file/f"):    "not a directory",
		dir:             "this is a folder",
		dir + "/":       "this is a folder",
		at("new") + "/": "folder " + at("new") + " does not exist",
	} {
		err := Write(name, text("new"))
		require.ErrorContains(t, err, want, name)
		var failed *WriteError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, name, failed.Name)
	}
	require.ErrorIs(t, Write(at("none/f"), text("")), fs.ErrNotExist)
	require.Equal(t, []string{"file"}, names(t, dir))
	require.Equal(t, "old", read(t, at("file")))
}

func TestFailedWriteChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, old := range []string{"", "old"} {
		if old != "" {
			require.NoError(t, os.WriteFile(path, []byte(old), 0o600))
		}
		mine := errors.New("mine")
		require.Equal(t, mine, Write(path, func(w io.Writer) error { return errors.Join(text("half")(w), mine) }).(interface{ Unwrap() []error }).Unwrap()[0])
		require.Len(t, names(t, dir), len(old)/3)
	}
	require.Equal(t, "old", read(t, path))
}

// writeEnv holds a file to write, for this test binary started as a program of its own.
const writeEnv = "OUTFILE_TEST_WRITE"

func TestMain(m *testing.M) {
	if path := os.Getenv(writeEnv); path != "" {
		if err := Write(path, text(strings.Repeat("0123456789abcdef", 8192))); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(pairEnv); dir != "" {
		pairMain(dir)
	}
	os.Exit(m.Run())
}

// A full disk, seen as a file that may not grow: the error has the name that was given, and nothing changed.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	c := exec.Command("bash", "-c", `ulimit -f 64; exec "$0"`, os.Args[0])
	c.Env = append(os.Environ(), writeEnv+"="+path)
	said, err := c.Output()
	require.Error(t, err)
	require.Equal(t, path+": file too large; nothing was changed\n", string(said))
	require.Equal(t, "old", read(t, path))
	require.Equal(t, []string{"f"}, names(t, dir))
}

// Another user may neither write to a folder nor replace a file that is not theirs to write.
func TestNoPermission(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("root alone can start a process of another user")
	}
	dir, err := os.MkdirTemp("/tmp", "outfile")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "program")
	self, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, self, 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	for sub, m := range map[string]fs.FileMode{"closed": 0o755, "open": 0o777} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, sub), m))
		require.NoError(t, os.Chmod(filepath.Join(dir, sub), m))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "open", "theirs"), []byte("old"), 0o644))
	for name, want := range map[string]string{
		"closed/f":    "closed/f: folder " + dir + "/closed: permission denied\n",
		"open/theirs": "open/theirs: permission denied\n",
		"open/f":      "",
	} {
		c := exec.Command(program)
		c.Dir = dir
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
		c.Env = append(os.Environ(), writeEnv+"="+filepath.Join(dir, name))
		said, err := c.Output()
		require.Equal(t, want == "", err == nil, "%s: %s", name, said)
		if want != "" {
			require.Equal(t, filepath.Join(dir, "")+"/"+want, string(said), name)
		}
	}
	require.Empty(t, names(t, filepath.Join(dir, "closed")))
	require.Equal(t, "old", read(t, filepath.Join(dir, "open", "theirs")))
	require.Equal(t, []string{"f", "theirs"}, names(t, filepath.Join(dir, "open")))
}

func TestLongNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("n", 255))
	require.NoError(t, Write(path, text("new")))
	require.NoError(t, Write(path, text("newer")))
	require.Equal(t, "newer", read(t, path))
}
