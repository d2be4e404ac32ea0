package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/metaprune/metaprune/native/bucket"
)

// place is where jobs keep their folders: on this machine, or in a bucket with a copy here.
type place struct {
	folder string
	bucket *bucket.Bucket
	every  time.Duration
	remove func() // the copy here
}

func openPlace(ctx context.Context, name string, every time.Duration) (*place, error) {
	if every <= 0 {
		return nil, fmt.Errorf("--checkpoint-every %s: want a time above 0", every)
	}
	if !bucket.Is(name) {
		return &place{folder: name, remove: func() {}}, nil
	}
	b, err := bucket.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	folder, remove, err := endingOf(ctx).tempDir("metaprune-")
	return &place{folder, b, every, remove}, err
}

func (p *place) close() {
	if p.bucket != nil {
		_ = p.bucket.Close()
		p.remove()
	}
}

// with runs a job in the folder that holds the job's own. In a bucket, what an earlier run left there is brought down first, and what the job writes goes up from time to time and at the end; last is the file that says
// that it is done.
func (p *place) with(ctx context.Context, job, last string, do func(folder string) error) error {
	if p.bucket == nil {
		return do(p.folder)
	}
	m := p.bucket.Mirror(job, p.folder, last)
	if err := m.Pull(ctx); err != nil {
		return err
	}
	stop, failed := make(chan struct{}), error(nil)
	var pushing sync.WaitGroup
	pushing.Go(func() {
		for t := time.NewTicker(p.every); ; {
			select {
			case <-stop:
				t.Stop()
				return
			case <-t.C:
				if err := m.Push(ctx); err != nil && ctx.Err() == nil {
					failed = err // the job goes on; the last push says whether it matters
				}
			}
		}
	})
	err := do(p.folder)
	close(stop)
	defer endingOf(ctx).longer()()
	pushing.Wait()
	if pushed := m.Push(context.WithoutCancel(ctx)); pushed != nil {
		return errors.Join(err, failed, pushed)
	}
	return err
}
