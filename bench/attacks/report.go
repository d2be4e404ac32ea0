package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/metaprune/metaprune/onnxio/hostile"
)

// outcome is what a program did with a file.
type outcome struct {
	code    int
	said    string
	seconds float64
	peak    int64 // bytes of memory
}

const patience = 2 * time.Minute

func try(program string, args ...string) (outcome, error) {
	c := exec.Command(program, args...)
	var said bytes.Buffer
	c.Stderr = &said
	start := time.Now()
	if err := c.Start(); err != nil {
		return outcome{}, err
	}
	timer := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	err := c.Wait()
	timer.Stop()
	o := outcome{code: c.ProcessState.ExitCode(), said: said.String(), seconds: time.Since(start).Seconds()}
	if u, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
		o.peak = u.Maxrss * 1024
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return o, err
	}
	return o, nil
}

// verdict says what an outcome is worth.
func (o outcome) verdict(written bool) string {
	said := strings.ToLower(o.said)
	switch {
	case o.code < 0 || o.code > 2 || strings.Contains(said, "goroutine") || strings.Contains(said, "panic") || strings.Contains(said, "please report"):
		return fmt.Sprintf("**CRASH** (%d)", o.code)
	case o.code == 0:
		return "pruned"
	case written:
		return "**LEFT A FILE**"
	case o.code == 1:
		return "nothing can be pruned"
	}
	return "refused"
}

// table tries files one after the other and counts what must not happen.
type table struct {
	program, dir string
	text         strings.Builder
	crashes      int
	tried        int
}

const header = "| attack | file | outcome | seconds | memory | message |\n|---|---|---|---|---|---|\n"

func (t *table) try(name string, size int64, args ...string) error {
	small := filepath.Join(t.dir, "small.onnx")
	o, err := try(t.program, append(args, "-o", small, "-q")...)
	if err != nil {
		return err
	}
	_, missing := os.Stat(small)
	_ = os.Remove(small)
	v := o.verdict(missing == nil)
	t.tried++
	if strings.HasPrefix(v, "**") {
		t.crashes++
	}
	t.row(name, size, o, v)
	return nil
}

func report(program, out string, big bool) error {
	dir, err := os.MkdirTemp("", "metaprune-attacks-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	t := &table{program: program, dir: dir}
	t.text.WriteString("`make attacks` gives each hostile file to `metaprune prune --ratio 0.2`. Memory is the peak of the whole process; a model of 1 kB needs 50 MB. Tests of the HTTP API, the worker and the page use the small files too.\n\n" + header)
	if err := t.models(big); err != nil {
		return err
	}
	t.text.WriteString("\n## Plans\n`metaprune prune testdata/fashion-resnet20.onnx --from-plan FILE`\n\n" + header)
	if err := t.plans("testdata/fashion-resnet20.onnx"); err != nil {
		return err
	}
	head := fmt.Sprintf("# Attacks\n- %d crashes in %d attacks.\n- Each hostile file is pruned, or refused with a message that names the place.\n\n", t.crashes, t.tried)
	if err := os.WriteFile(out, []byte(head+t.text.String()), 0o644); err != nil {
		return err
	}
	if t.crashes > 0 {
		return fmt.Errorf("%d crashes, see %s", t.crashes, out)
	}
	return nil
}

// models has another process make the files: what this one holds counts as its children's memory before they start.
func (t *table) models(big bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	files := filepath.Join(t.dir, "models")
	if err := exec.Command(self, "-files", files, "-big="+strconv.FormatBool(big)).Run(); err != nil {
		return err
	}
	list, err := filepath.Glob(filepath.Join(files, "*.onnx"))
	if err != nil {
		return err
	}
	for _, f := range list {
		info, err := os.Stat(f)
		if err != nil {
			return err
		}
		if err := t.try(attackName(f), info.Size(), "prune", f, "--ratio", "0.2"); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) plans(model string) error {
	data, err := os.ReadFile(model)
	if err != nil {
		return err
	}
	for _, f := range hostile.Plans(fmt.Sprintf("%x", sha256.Sum256(data)), "layers.0.conv1.weight", 16) {
		plan := filepath.Join(t.dir, "plan.json")
		if err := os.WriteFile(plan, f.Data, 0o600); err != nil {
			return err
		}
		if err := t.try(f.Name, int64(len(f.Data)), "prune", model, "--from-plan", plan); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) row(name string, size int64, o outcome, verdict string) {
	said := strings.TrimPrefix(strings.NewReplacer(t.dir+"/models/", "", t.dir+"/", "").Replace(strings.TrimSpace(o.said)), "metaprune: ")
	if i := strings.IndexByte(said, '\n'); i >= 0 {
		said = said[:i]
	}
	if r := []rune(said); len(r) > 140 {
		said = string(r[:140]) + "…"
	}
	line := fmt.Sprintf("| %s | %s | %s | %.2f | %d MB | %s |\n", name, bytesText(size), verdict, o.seconds, o.peak>>20, strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(said))
	t.text.WriteString(line)
	fmt.Print(line)
}

func bytesText(n int64) string {
	if n < 1_000_000 {
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
