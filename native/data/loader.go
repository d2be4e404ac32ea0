package data

import (
	"context"
	"math/rand/v2"
	"runtime"
)

// Augment is what training does to images. The zero value leaves them as they are.
type Augment struct {
	Crop   int  `json:"crop"`   // pixels of padding around the image before a crop of its size
	Flip   bool `json:"flip"`   // left and right, every other time
	Cutout int  `json:"cutout"` // side of a square that is set to the mean
}

// Batch is images [n, C, H, W] with their labels.
type Batch struct {
	X      []float32
	Dims   []int
	Labels []int32 // nil where the set has none
	Index  []int   // which images of the set these are
}

// Order is how a set is gone through.
type Order struct {
	Batch    int
	Shuffle  bool
	Seed     uint64
	Epoch    int
	From     int  // batches to leave out at the start
	DropLast bool // leave out a last batch that is not full
	Augment  Augment
}

// indices are the images in order.
func (o Order) indices(n int) []int {
	if o.Shuffle {
		return rand.New(rand.NewPCG(o.Seed, uint64(o.Epoch)+1)).Perm(n)
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// Batches is the number of batches of a set of n images.
func (o Order) Batches(n int) int {
	if o.DropLast {
		return n / o.Batch
	}
	return (n + o.Batch - 1) / o.Batch
}

// Each hands the set's batches to visit, one after the other; they are prepared in parallel. What a batch holds depends on the order alone, never on timing.
func (s *Set) Each(ctx context.Context, o Order, visit func(k int, b *Batch) error) error {
	all, total := o.indices(s.N), o.Batches(s.N)
	type result struct {
		b   *Batch
		err error
	}
	ahead := min(runtime.GOMAXPROCS(0)+1, max(total, 1))
	queue := make(chan chan result, ahead)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(queue)
		for k := o.From; k < total; k++ {
			slot := make(chan result, 1)
			select {
			case queue <- slot:
			case <-ctx.Done():
				return
			}
			go func() {
				b, err := s.batch(all[k*o.Batch:min((k+1)*o.Batch, s.N)], o)
				slot <- result{b, err}
			}()
		}
	}()
	k := o.From
	for slot := range queue {
		r := <-slot
		if r.err != nil {
			return r.err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := visit(k, r.b); err != nil {
			return err
		}
		k++
	}
	return ctx.Err()
}

// Take returns the images with the given indices as they are.
func (s *Set) Take(indices []int) (*Batch, error) { return s.batch(indices, Order{}) }

func (s *Set) batch(indices []int, o Order) (*Batch, error) {
	size := s.Size()
	b := &Batch{X: make([]float32, len(indices)*size), Dims: []int{len(indices), s.C, s.H, s.W}, Index: indices}
	if s.Labels != nil {
		b.Labels = make([]int32, len(indices))
	}
	for i, k := range indices {
		dst := b.X[i*size : (i+1)*size]
		if err := s.Image(k, dst); err != nil {
			return nil, err
		}
		if o.Augment != (Augment{}) {
			s.augment(dst, o.Augment, rand.New(rand.NewPCG(o.Seed^uint64(o.Epoch)<<40, uint64(k))))
		}
		if b.Labels != nil {
			b.Labels[i] = s.Labels[k]
		}
	}
	return b, nil
}

// augment moves, mirrors and covers a normalised image; what comes in from outside is black.
func (s *Set) augment(x []float32, a Augment, r *rand.Rand) {
	dx, dy, flip := 0, 0, false
	if a.Crop > 0 {
		dx, dy = r.IntN(2*a.Crop+1)-a.Crop, r.IntN(2*a.Crop+1)-a.Crop
	}
	if a.Flip {
		flip = r.IntN(2) == 1
	}
	if dx != 0 || dy != 0 || flip {
		s.moved(x, dx, dy, flip)
	}
	if a.Cutout > 0 {
		cx, cy := r.IntN(s.W), r.IntN(s.H)
		for c := range s.C {
			for y := max(cy-a.Cutout/2, 0); y < min(cy+(a.Cutout+1)/2, s.H); y++ {
				for w := max(cx-a.Cutout/2, 0); w < min(cx+(a.Cutout+1)/2, s.W); w++ {
					x[(c*s.H+y)*s.W+w] = 0
				}
			}
		}
	}
}

func (s *Set) moved(x []float32, dx, dy int, flip bool) {
	old := append([]float32(nil), x...)
	for c := range s.C {
		black := float32(0)
		if s.Mean != nil {
			black = float32(-s.Mean[c] / s.Std[c])
		}
		for y := range s.H {
			for w := range s.W {
				from := w + dx
				if flip {
					from = s.W - 1 - w + dx
				}
				v := black
				if sy := y + dy; sy >= 0 && sy < s.H && from >= 0 && from < s.W {
					v = old[(c*s.H+sy)*s.W+from]
				}
				x[(c*s.H+y)*s.W+w] = v
			}
		}
	}
}
