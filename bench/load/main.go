// Command load lets many clients ask a metaprune service at once and says what they saw: latencies, statuses, wrong answers and the service's memory.
//
//	bin/metaprune serve --memory 2GB & go run ./bench/load -pid $! -clients 64 -for 60s small.onnx large.onnx
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/metaprune/metaprune/native/client"
	"github.com/metaprune/metaprune/wasm/api"
)

type model struct {
	name string
	data []byte
}

// kind is an operation on a model.
type kind struct{ operation, model string }

type tally struct {
	mu       sync.Mutex
	latency  map[kind][]time.Duration
	statuses map[int]int
	hashes   map[kind][32]byte
	wrong    int
	failures []error
}

func main() {
	url, clients, last, pid := flag.String("url", "http://localhost:8080", "of the service"), flag.Int("clients", 64, "at once"), flag.Duration("for", time.Minute, "how long"), flag.Int("pid", 0, "of the service, for its memory")
	flag.Parse()
	if err := run(*url, *clients, *last, *pid, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(url string, clients int, last time.Duration, pid int, paths []string) error {
	var models []model
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		models = append(models, model{filepath.Base(p), b})
	}
	if len(models) == 0 {
		return errors.New("name models")
	}
	t := &tally{latency: map[kind][]time.Duration{}, statuses: map[int]int{}, hashes: map[kind][32]byte{}}
	c := &client.Client{URL: url, HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}}
	end := time.Now().Add(last)
	memory := watch(pid)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for time.Now().Before(end) {
				t.once(c, models[r.IntN(len(models))], r.IntN(3))
			}
		})
	}
	wg.Wait()
	t.print()
	if pid != 0 {
		fmt.Printf("largest anonymous memory of the service: %d MB\n", memory())
	}
	if t.wrong > 0 || len(t.failures) > 0 {
		return fmt.Errorf("%d wrong answers, %d failures", t.wrong, len(t.failures))
	}
	return nil
}

// once asks once; 429 is waited out.
func (t *tally) once(c *client.Client, m model, what int) {
	ctx, start, sum := context.Background(), time.Now(), sha256.New()
	name, err := "", error(nil)
	switch body := bytes.NewReader(m.data); what {
	case 0:
		name = "inspect"
		_, err = c.Inspect(ctx, body)
	case 1:
		name = "masks"
		p, e := c.Masks(ctx, body, client.Options{SpeedUp: 1.5})
		if err = e; err == nil {
			fmt.Fprint(sum, p.Removed)
		}
	default:
		name = "prune"
		err = c.Prune(ctx, body, client.Options{SpeedUp: 1.5}, io.Writer(sum))
	}
	took := time.Since(start)
	t.mu.Lock()
	defer t.mu.Unlock()
	var refused *api.Problem
	switch {
	case errors.As(err, &refused):
		t.statuses[refused.Status]++
		if refused.Status != http.StatusTooManyRequests {
			t.failures = append(t.failures, err)
		}
	case err != nil:
		t.failures = append(t.failures, err)
	default:
		t.statuses[http.StatusOK]++
		k := kind{name, m.name}
		t.latency[k] = append(t.latency[k], took)
		got := [32]byte(sum.Sum(nil))
		if first, ok := t.hashes[k]; ok && first != got {
			t.wrong++
		}
		t.hashes[k] = got
	}
}

func (t *tally) print() {
	var kinds []kind
	for k := range t.latency {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b kind) int { return strings.Compare(a.model+a.operation, b.model+b.operation) })
	fmt.Println("| model | operation | answers | p50 ms | p99 ms |\n|---|---|---|---|---|")
	for _, k := range kinds {
		l := t.latency[k]
		slices.Sort(l)
		fmt.Printf("| %s | %s | %d | %d | %d |\n", k.model, k.operation, len(l), l[len(l)/2].Milliseconds(), l[len(l)*99/100].Milliseconds())
	}
	fmt.Println("statuses:", t.statuses, "wrong:", t.wrong, "failures:", len(t.failures))
	for i, err := range t.failures {
		if i < 5 {
			fmt.Println(" ", err)
		}
	}
}

// watch keeps the largest anonymous memory of a process (mapped files, which the system may take back, do not count) until stop is called, which returns it in MB.
func watch(pid int) (stop func() int64) {
	done, most := make(chan struct{}), make(chan int64)
	go func() {
		top := int64(0)
		for {
			select {
			case <-done:
				most <- top / 1000
				return
			case <-time.After(50 * time.Millisecond):
				top = max(top, anonymous(pid))
			}
		}
	}()
	return func() int64 { close(done); return <-most }
}

// anonymous returns a process's RssAnon in kB, 0 where it is not known.
func anonymous(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		var kB int64
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kB); n == 1 {
			return kB
		}
	}
	return 0
}
