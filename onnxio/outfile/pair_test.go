//go:build unix

package outfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A model of these tests is a line: its version and the name of its data file, which holds the version too.
func pairOf(version string) Pair {
	return Pair{Data: text(version), Model: func(w io.Writer, data string) error {
		_, err := fmt.Fprint(w, version, " ", data)
		return err
	}}
}

// had lists the data files of the model that is there.
func had(path string) []string {
	b, err := os.ReadFile(path)
	if _, data, ok := strings.Cut(string(b), " "); err == nil && ok {
		return []string{data}
	}
	return nil
}

func writeVersion(path, version string) error {
	p := pairOf(version)
	p.Had = had(path)
	return WritePair(path, p)
}

// version reads a model and its data, which have to belong together.
func version(t *testing.T, path string) string {
	t.Helper()
	v, data, ok := strings.Cut(read(t, path), " ")
	require.True(t, ok)
	require.Equal(t, v, read(t, filepath.Join(filepath.Dir(path), data)), "the data file %s belongs to another model", data)
	return v
}

func TestPair(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m")
	for _, v := range []string{"1", "2", "3"} {
		require.NoError(t, writeVersion(path, v))
		require.Equal(t, v, version(t, path))
		require.Equal(t, v+" m.data", read(t, path))
		require.Equal(t, []string{"m", "m.data"}, names(t, dir))
		require.NoError(t, os.Chmod(path+".data", 0o640))
	}
	require.Equal(t, os.FileMode(0o640), mode(t, path+".data"))
}

// A data file that the model there does not name may be another model's.
func TestPairLeavesDataOfOthers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m")
	require.NoError(t, writeVersion(path, "1"))
	require.NoError(t, os.Rename(path, filepath.Join(dir, "renamed")))
	for _, there := range []string{"", "a model without data", "a model other.data"} {
		if there != "" {
			require.NoError(t, os.WriteFile(path, []byte(there), 0o600))
		}
		var taken *TakenError
		require.ErrorAs(t, writeVersion(path, "2"), &taken)
		require.Equal(t, path+".data", taken.Data)
		require.Equal(t, "1", version(t, filepath.Join(dir, "renamed")))
	}
	p := pairOf("2")
	p.Force = true
	require.NoError(t, WritePair(path, p))
	require.Equal(t, "2", version(t, path))
}

func TestPairLinks(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	require.NoError(t, os.MkdirAll(at("sub"), 0o755))
	require.NoError(t, os.MkdirAll(at("out"), 0o755))

	require.NoError(t, os.Symlink("real", at("link"))) // in the same folder
	require.NoError(t, writeVersion(at("link"), "1"))
	require.Equal(t, "1 link.data", read(t, at("real")))
	require.Equal(t, "1", version(t, at("link")))

	require.NoError(t, os.Symlink("sub/weights", at("m.data"))) // data below the model's folder
	require.NoError(t, writeVersion(at("m"), "2"))
	require.Equal(t, "2", version(t, at("m")))
	require.Equal(t, "2", read(t, at("sub/weights")))
	require.NoError(t, writeVersion(at("m"), "3"))
	require.Equal(t, "3", read(t, at("sub/weights")))
	require.Equal(t, []string{"weights"}, names(t, at("sub")))

	require.NoError(t, os.Symlink("../out/weights", at("sub/m.data"))) // and beside it
	require.ErrorContains(t, writeVersion(at("sub/m"), "4"), "m.data: not a file in the folder of")
	require.NoError(t, os.Symlink("../out/m", at("sub/other")))
	require.ErrorContains(t, writeVersion(at("sub/other"), "4"), "other: no data file can be written beside it")
	require.Empty(t, names(t, at("out")))
	target, err := Resolve(at("sub/other"))
	require.NoError(t, err)
	require.False(t, target.TakesPair())
}

func TestFailedPairChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m")
	require.NoError(t, writeVersion(path, "1"))
	for _, bad := range []string{"data", "model"} {
		p := pairOf("2")
		p.Had = had(path)
		if bad == "data" {
			p.Data = func(w io.Writer) error { return errors.Join(text("half")(w), io.ErrClosedPipe) }
		} else {
			p.Model = func(io.Writer, string) error { return io.ErrClosedPipe }
		}
		require.Error(t, WritePair(path, p))
		require.Equal(t, "1", version(t, path))
		require.Equal(t, []string{"m", "m.data"}, names(t, dir))
	}
	require.NoError(t, os.Remove(path+".data"))
	require.NoError(t, os.Mkdir(path+".data", 0o755))
	require.ErrorContains(t, writeVersion(path, "2"), "m.data: this is a folder")
	require.Equal(t, "1 m.data", read(t, path))
}

// pairEnv holds a folder, killEnv the number of the step at which this test binary ends like a program that is killed.
const (
	pairEnv = "OUTFILE_TEST_PAIR"
	killEnv = "OUTFILE_TEST_KILL"
)

func pairMain(dir string) {
	left, _ := strconv.Atoi(os.Getenv(killEnv))
	w := writer{at: func(string) {
		if left--; left < 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}}
	path := filepath.Join(dir, "m")
	p := pairOf("2")
	p.Had = had(path)
	b := &Batch{writer: w}
	if err := b.AddPair(path, p); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if err := b.Commit(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Killed between any two steps, with every state that an earlier kill leaves: the model is the old or the new one, and so is its data. The next run succeeds.
func TestPairKilledAtEveryStep(t *testing.T) {
	run := func(dir string, step int) bool {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), pairEnv+"="+dir, fmt.Sprintf("%s=%d", killEnv, step))
		said, err := c.CombinedOutput()
		if err != nil {
			require.Equal(t, syscall.SIGKILL, c.ProcessState.Sys().(syscall.WaitStatus).Signal(), "%s", said)
		}
		return err == nil
	}
	for _, start := range []string{"nothing", "a pair", "a model without data"} {
		seen := map[string]int{}
		for step := 0; ; step++ {
			dir := t.TempDir()
			path := filepath.Join(dir, "m")
			switch start {
			case "a pair":
				require.NoError(t, writeVersion(path, "1"))
			case "a model without data":
				require.NoError(t, os.WriteFile(path, []byte("whole"), 0o600))
			}
			done := run(dir, step)
			state := start
			if b, err := os.ReadFile(path); err == nil && string(b) != "whole" {
				state = version(t, path)
			}
			seen[state]++
			if done {
				require.Equal(t, "2", state)
				require.Equal(t, []string{"m", "m.data"}, names(t, dir))
				break
			}
			require.NoError(t, writeVersion(path, "3"), "after a kill at step %d", step)
			require.Equal(t, "3", version(t, path))
			require.Equal(t, "3 m.data", read(t, path))
		}
		require.Len(t, seen, 2, "%s: both the old and the new state are met: %v", start, seen)
	}
}

// A process that ends by itself between any two steps removes no file that a model names.
func TestPairEndedAtEveryStep(t *testing.T) {
	for step := 0; ; step++ {
		dir := t.TempDir()
		path := filepath.Join(dir, "m")
		require.NoError(t, writeVersion(path, "1"))
		left := step
		w := writer{at: func(string) {
			if left--; left == -1 {
				removeNoted()
				v := version(t, path)
				for _, n := range names(t, dir) {
					require.NotContains(t, n, ".tmp-", "after version %s", v)
				}
			}
		}}
		p := pairOf("2")
		p.Had = had(path)
		b := &Batch{writer: w}
		if b.AddPair(path, p) == nil {
			_ = b.Commit()
		}
		b.Discard()
		version(t, path)
		if left >= 0 {
			return
		}
	}
}
