package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// tick is how often long work says where it is where standard error is no terminal.
const tick = 10 * time.Second

// stages says how far a command is: with a bar in a terminal, else with a line from time to time. A nil one says nothing.
type stages struct {
	mu   sync.Mutex
	out  io.Writer
	live bool
	list []*stage // the first is the command itself
	now  func() time.Time
	stop chan struct{}
	once sync.Once
}

// stage is a part of a command's work, such as a repair.
type stage struct {
	all         *stages
	name        string
	start       time.Time
	done, total float64 // total 0: not known
	bar         *progressbar.ProgressBar
	shown       bool
}

// newStages says every so often on out what the command is at, until end is called.
func newStages(out io.Writer, command string, every time.Duration) *stages {
	s := &stages{out: out, live: isTerminal(out), now: time.Now, stop: make(chan struct{})}
	s.begin(command)
	if s.live {
		every = time.Second
	}
	go func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-t.C:
				s.say()
			}
		}
	}()
	return s
}

func (s *stages) end() {
	if s == nil {
		return
	}
	s.once.Do(func() { close(s.stop) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.list {
		g.clear()
	}
	s.list = nil
}

// begin enters a stage; the caller ends it.
func (s *stages) begin(name string) *stage {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &stage{all: s, name: name, start: s.now()}
	s.list = append(s.list, g)
	return g
}

// end leaves the stage and those that began in it.
func (g *stage) end() {
	if g == nil {
		return
	}
	s := g.all
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, own := range s.list {
		if own == g {
			for _, inner := range s.list[i:] {
				inner.clear()
			}
			s.list = s.list[:i]
			return
		}
	}
}

// set says how much of the stage's work is done.
func (g *stage) set(done, total float64) {
	if g == nil {
		return
	}
	s := g.all
	s.mu.Lock()
	defer s.mu.Unlock()
	if done < g.done {
		g.start = s.now() // it began anew, as a repair does for every candidate
	}
	g.done, g.total = done, total
	if !s.live || total <= 0 {
		return
	}
	const steps = 1000
	if g.bar == nil {
		g.bar = progressbar.NewOptions(steps, progressbar.OptionSetWriter(s.out), progressbar.OptionSetDescription(g.name), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	}
	_ = g.bar.Set(int(steps * min(done/total, 1)))
}

// clear removes what a terminal shows of the stage.
func (g *stage) clear() {
	switch {
	case !g.all.live:
	case g.bar != nil:
		_ = g.bar.Clear()
	case g.shown:
		fmt.Fprint(g.all.out, "\r\033[K")
	}
}

// say writes where the innermost stage is.
func (s *stages) say() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return
	}
	g := s.list[len(s.list)-1]
	switch {
	case !s.live:
		fmt.Fprintln(s.out, g.line(s.now()))
	case g.bar == nil && len(s.list) > 1:
		g.shown = true
		fmt.Fprintf(s.out, "\r\033[K%s", g.line(s.now()))
	}
}

// line is a stage in words.
func (g *stage) line(now time.Time) string {
	took := now.Sub(g.start)
	if g.total <= 0 || g.done <= 0 {
		return fmt.Sprintf("%s: %s", plain(g.name), took.Round(time.Second))
	}
	share := min(g.done/g.total, 1)
	left := time.Duration(float64(took) * (1 - share) / share)
	return fmt.Sprintf("%s: %.0f %%, %s, about %s left", plain(g.name), 100*share, took.Round(time.Second), left.Round(time.Second))
}

// stage enters a part of the command's work.
func (a *app) stage(name string) *stage { return a.stages.begin(name) }

// lockedWriter lets progress and results be written side by side.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// locked is a writer for several goroutines; files are that already.
func locked(w io.Writer) io.Writer {
	if _, ok := w.(*os.File); ok {
		return w
	}
	return &lockedWriter{w: w}
}
