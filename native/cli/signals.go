package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/metaprune/metaprune/native/train"
)

// patience is how long work gets to end by itself after a signal. What cannot be interrupted, such as the analysis of a large model, is then ended from outside.
const patience = 400 * time.Millisecond

// ending is what a signal does to the program: the first one cancels the context and, where that does not end the command in time, ends the process; the second one ends it at once. Temporary files are removed before.
type ending struct {
	mu     sync.Mutex
	signal os.Signal
	saving int            // pieces of work that may go on longer, since they end what has begun
	idle   chan struct{}  // closed where saving is 0
	clean  map[int]func() // by number: what removes temporary files and folders
	next   int
}

func newEnding() *ending {
	e := &ending{clean: map[int]func(){}, idle: make(chan struct{})}
	close(e.idle)
	return e
}

type endingKey struct{}

// endingOf is the ending of the program that a command's context belongs to; nil does nothing.
func endingOf(ctx context.Context) *ending {
	e, _ := ctx.Value(endingKey{}).(*ending)
	return e
}

// got is the signal that came, or nil.
func (e *ending) got() os.Signal {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.signal
}

// longer lets work that has begun end after a signal, such as requests that are under way or a checkpoint that is written; the result says that it is done.
func (e *ending) longer() func() {
	if e == nil {
		return func() {}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.saving++; e.saving == 1 {
		e.idle = make(chan struct{})
	}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.saving--; e.saving == 0 {
			close(e.idle)
		}
	}
}

// removing has do called where the process is ended from outside; the result withdraws that.
func (e *ending) removing(do func()) func() {
	if e == nil {
		return func() {}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next++
	n := e.next
	e.clean[n] = do
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.clean, n)
	}
}

// tempDir makes a folder that is removed by the result, or when the process is ended by a signal.
func (e *ending) tempDir(pattern string) (string, func(), error) {
	dir, err := os.MkdirTemp("", pattern)
	if err != nil {
		return "", func() {}, err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	forget := e.removing(remove)
	return dir, func() { remove(); forget() }, nil
}

// watch cancels the context that it returns at the first signal, and calls exit with what ends the process where the command does not. stop ends the watch.
func (e *ending) watch(exit func(os.Signal)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(train.WithSaving(context.WithValue(context.Background(), endingKey{}, e), e.longer))
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			e.mu.Lock()
			e.signal = s
			e.mu.Unlock()
			cancel()
			e.wait(signals, done)
		case <-done:
			return
		}
		select {
		case <-done:
		default:
			e.remove()
			exit(e.got())
		}
	}()
	var once sync.Once
	return ctx, func() {
		once.Do(func() {
			signal.Stop(signals)
			close(done)
			cancel()
		})
	}
}

// wait returns when the command has ended, a second signal came, or patience is over and nothing is being saved.
func (e *ending) wait(signals <-chan os.Signal, done <-chan struct{}) {
	select {
	case <-done:
		return
	case <-signals:
		return
	case <-time.After(patience):
	}
	for {
		e.mu.Lock()
		idle := e.idle
		e.mu.Unlock()
		select {
		case <-done:
			return
		case <-signals:
			return
		case <-idle:
		}
		select { // what was saving gets to return
		case <-done:
			return
		case <-signals:
			return
		case <-time.After(patience / 4):
		}
		e.mu.Lock()
		again := e.saving > 0
		e.mu.Unlock()
		if !again {
			return
		}
	}
}

func (e *ending) remove() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, do := range e.clean {
		do()
	}
}

func signalNumber(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return int(n)
	}
	return int(syscall.SIGINT)
}

func signalName(s os.Signal) string {
	if s == syscall.SIGTERM {
		return "SIGTERM"
	}
	return "interrupt"
}

// stopped is the error of a command that was ended from outside.
func stopped(s os.Signal) error {
	return fmt.Errorf("stopped by %s before the work was done", signalName(s))
}
