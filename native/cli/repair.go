package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/native/analyse"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/metaprune/metaprune/native/samples"
	"github.com/metaprune/metaprune/native/train"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/metaprune/metaprune/xla"
	"github.com/spf13/pflag"
)

// repairFlags say whether and on what a pruned model is repaired.
type repairFlags struct {
	mode, calibrate    string
	samples            int
	resize, tokenizer  string
	tokens, sampleRate int
	folder             string         // of the model
	flags              *pflag.FlagSet // of the command, for --memory
}

func (f *repairFlags) add(fl *pflag.FlagSet) {
	f.flags = fl
	fl.StringVar(&f.mode, "repair", "", "fit the remaining weights to the original's outputs, without labels: none, noise (random samples) or data (default: data with --calibrate, else none)")
	fl.StringVar(&f.calibrate, "calibrate", "", "calibration samples, unlabelled, for --repair data and criteria: a folder or zip file of pictures or of WAV files, an NPZ, NPY, IDX, CSV, TXT, JSONL or WAV file, or the name of a data set (docs/calibration.md)")
	fl.IntVar(&f.samples, "samples", 100, "number of calibration samples; a fifth of them only judges the repair")
	fl.StringVar(&f.resize, "resize", "", "how calibration pictures are brought to the input's size: crop (the shorter side to 256/224 of it, then the middle), stretch, or letterbox (gray bars) (default: crop; letterbox for detectors by Ultralytics)")
	fl.IntVar(&f.sampleRate, "sample-rate", 16000, "samples per second that sound for --calibrate is resampled to, in Hz")
	fl.StringVar(&f.tokenizer, "tokenizer", "", "tokenizer.json that turns text for --calibrate into tokens (default: tokenizer.json beside the text, else beside the model)")
	fl.IntVar(&f.tokens, "tokens", 128, "number of tokens of each text for --calibrate, cut or padded, if the model takes any number")
	oneOf(fl, "repair", "none", "noise", "data")
	oneOf(fl, "resize", samples.Resizes()...)
	takes(fl, whole(repair.Least, 0), "samples")
	takes(fl, whole(1, 0), "sample-rate", "tokens")
}

// check fills in the mode.
func (f *repairFlags) check() error {
	if f.mode == "" {
		f.mode = "none"
		if f.calibrate != "" {
			f.mode = "data"
		}
	}
	switch {
	case f.mode == "data" && f.calibrate == "":
		return errors.New("--repair data needs samples: give --calibrate (a folder of pictures, IDX or NPZ), or --repair noise")
	case f.mode != "data" && f.calibrate != "":
		return fmt.Errorf("--calibrate needs --repair data, got %s", f.mode)
	}
	return nil
}

// repairReport is what prune prints of a repair.
type repairReport struct {
	Mode    string                    `json:"mode"`
	Method  string                    `json:"method"` // that was kept
	Before  repair.Figures            `json:"before"`
	After   repair.Figures            `json:"after"`
	Tried   map[string]repair.Figures `json:"tried"`
	Samples int                       `json:"samples"`
	Tensors int                       `json:"tensors"`
	Backend string                    `json:"backend"`
	Seconds float64                   `json:"seconds"`
	Skipped []string                  `json:"skipped,omitempty"` // pruned layers that a repair does not work on
}

// mender repairs pruned versions of one model.
type mender struct {
	mode      string
	original  *onnxio.Model
	runtime   *engines.Runtime
	engine    engines.Engine
	fit, held map[string]repair.Array
	samples   int
	stages    *stages
	memory    engine.Memory
}

// mender reads or makes the inputs; nil where nothing is to be repaired.
func (a *app) mender(ctx context.Context, f *repairFlags, d *dataFlags, b *engines.Runtime, m *onnxio.Model, seed int64) (*mender, error) {
	if f.mode == "none" {
		return nil, nil
	}
	inputs, err := xla.InputsOf(m)
	if err != nil {
		return nil, err
	}
	e, err := b.Engine(m)
	if err != nil {
		return nil, err
	}
	w := &mender{mode: f.mode, original: m, runtime: b, engine: e, samples: f.samples}
	var all map[string]repair.Array
	if f.mode == "noise" {
		all, err = noise(inputs, d, f.samples, uint64(seed))
	} else {
		all, w.samples, err = a.calibration(inputs, m, f, d, uint64(seed))
	}
	if err != nil {
		return nil, err
	}
	w.fit, w.held = calib.Divide(ctx, w.engine, m, all, w.samples)
	w.stages = a.stages
	if w.memory, err = calibrationMemory(ctx, f.flags.Lookup("memory").Value.String(), repair.LeastMemory(m)); err != nil {
		return nil, err
	}
	return w, nil
}

// inputsOf are a model's inputs as samples are checked against them.
func inputsOf(inputs []xla.Input) []calib.Input {
	out := make([]calib.Input, len(inputs))
	for i, in := range inputs {
		out[i] = calib.Input{Name: in.Name, Type: in.Type, Dims: in.Dims}
	}
	return out
}

// noise makes inputs for a model whose inputs are real and of known size.
func noise(inputs []xla.Input, d *dataFlags, n int, seed uint64) (map[string]repair.Array, error) {
	size, err := d.picture()
	if err != nil {
		return nil, err
	}
	out, err := calib.Noise(inputsOf(inputs), n, size, seed)
	var none *calib.NoiseError
	switch {
	case errors.As(err, &none) && none.Size:
		return nil, fmt.Errorf("--repair noise: %w; say one with --input CxHxW", err)
	case err != nil:
		return nil, fmt.Errorf("--repair noise: %w; use --calibrate with an NPZ file", err)
	}
	return out, nil
}

// calibration reads samples.
func (a *app) calibration(inputs []xla.Input, m *onnxio.Model, f *repairFlags, d *dataFlags, seed uint64) (map[string]repair.Array, int, error) {
	o, err := f.sampleOptions(d)
	if err != nil {
		return nil, 0, err
	}
	o.Inputs, o.Model, o.Seed = inputsOf(inputs), m, seed
	s, err := samples.Open(f.calibrate, o)
	if err != nil {
		return nil, 0, fmt.Errorf("--calibrate: %w", err)
	}
	defer s.Close()
	if s.Len() < repair.Least {
		return nil, 0, &calib.SampleError{File: f.calibrate, Want: fmt.Sprintf("at least %d samples", repair.Least), Got: strconv.Itoa(s.Len()), Do: "give more of them"}
	}
	all, err := calib.ReadAll(s)
	if err != nil {
		return nil, 0, fmt.Errorf("--calibrate: %w", err)
	}
	a.notes(s.Notes)
	return all, s.Len(), nil
}

// sampleOptions are what the flags say of samples.
func (f *repairFlags) sampleOptions(d *dataFlags) (o samples.Options, err error) {
	o = samples.Options{Folder: f.folder, Limit: f.samples, Resize: f.resize, SampleRate: f.sampleRate, Tokenizer: f.tokenizer, Tokens: f.tokens}
	if o.Sizes, err = coupling.ParseSizes(d.inputs); err != nil {
		return o, badSize(err)
	}
	if o.Mean, err = numbersOf("mean", d.mean); err == nil {
		o.Std, err = numbersOf("std", d.std)
	}
	return o, err
}

// images are the inputs of a model that takes pictures.
func images(inputs []xla.Input, set *data.Set) (map[string]repair.Array, int, error) {
	if err := train.Fits(inputs, set); err != nil {
		return nil, 0, err
	}
	if set.N < repair.Least {
		return nil, 0, fmt.Errorf("%s has %d images; a repair needs at least %d", set.Name, set.N, repair.Least)
	}
	all := make([]int, set.N)
	for i := range all {
		all[i] = i
	}
	b, err := set.Take(all)
	if err != nil {
		return nil, 0, err
	}
	return map[string]repair.Array{inputs[0].Name: {Dims: b.Dims, Floats: b.X, Type: onnxio.Float}}, set.N, nil
}

// scores ranks by the samples of the repair, for the criteria that need them; nil for the others.
func (w *mender) scores(ctx context.Context, s *prune.Model, criterion string) (planner.Scores, error) {
	switch {
	case !calib.LooksAtSamples(criterion):
		return nil, nil
	case w == nil:
		return nil, fmt.Errorf("criterion %s needs samples: give unlabelled ones with --calibrate, or random ones with --repair noise", criterion)
	}
	defer w.stages.begin("scores by " + criterion).end()
	v, err := calib.Scores(ctx, w.engine, s.ONNX, s.Analysis, criterion, w.fit)
	return v, cannotRun(err)
}

// taylorCriterion is the criterion that needs labelled images; native/analyse.
const taylorCriterion = "taylor"

// taylorImages is the largest number of labelled images that criterion taylor uses.
const taylorImages = 1000

// looksAtData reports whether a criterion needs more than the model.
func looksAtData(criterion string) bool {
	return calib.LooksAtSamples(criterion) || criterion == taylorCriterion
}

// dataScores are the scores of the criteria that need data, nil for the others.
func (a *app) dataScores(ctx context.Context, b *engines.Runtime, s *prune.Model, criterion string, w *mender, d *dataFlags, seed int64) (planner.Scores, error) {
	if criterion != taylorCriterion {
		return w.scores(ctx, s, criterion)
	}
	splits, err := d.open(s.ONNX)
	if err != nil {
		return nil, fmt.Errorf("criterion taylor needs labelled images, give --data: %w", err)
	}
	set := splits.Train
	if set == nil {
		set = splits.Test
	}
	if set.Labels == nil {
		return nil, fmt.Errorf("criterion taylor needs labels, and %s has none", set.Name)
	}
	gradients, err := b.Gradients()
	if err != nil {
		return nil, err
	}
	g := a.stage("scores by taylor")
	defer g.end()
	scores, err := taylor(ctx, gradients, s, set.Shuffled(min(taylorImages, set.N), uint64(seed)), d.batch)
	if err != nil {
		return nil, fmt.Errorf("criterion taylor: %w", cannotRun(err))
	}
	return planner.ByMean(s.Analysis, scores), nil
}

// taylor is what the loss on labelled images does without each unit.
func taylor(ctx context.Context, b *xla.Backend, s *prune.Model, set *data.Set, batch int) (scores planner.Scores, err error) {
	err = engines.InBatches(s.ONNX, batch, func(batch int) error {
		scores, err = analyse.Taylor(ctx, b, s.ONNX, s.Analysis, set, batch)
		return err
	})
	return scores, err
}

// mend repairs a pruned model; the plan then says how.
func (w *mender) mend(ctx context.Context, p *planner.Plan, m *onnxio.Model) (*repair.Result, *repairReport, error) {
	start := time.Now()
	g := w.stages.begin("repair")
	defer g.end()
	r, err := repair.Repair(ctx, w.engine, w.original, m, p.Removed, w.fit, w.held, repair.Options{Memory: w.memory, Progress: func(done, total int) { g.set(float64(done), float64(total)) }})
	if err != nil {
		return nil, nil, fmt.Errorf("repair: %w", cannotRun(err))
	}
	noise, tried := w.mode == "noise", map[string]repair.Figures{}
	for method, f := range r.Tried {
		tried[method] = f.Figures(noise)
	}
	return r, &repairReport{w.mode, r.Method, r.Before.Figures(noise), r.After.Figures(noise), tried, w.samples, len(r.Tensors), w.runtime.Kind, time.Since(start).Seconds(), r.Skipped}, nil
}

// cannotRun says what to do about a model that the engine does not run as a whole.
func cannotRun(err error) error {
	if u := (*onnxio.UnsupportedError)(nil); errors.As(err, &u) {
		return fmt.Errorf("%w; pruning with samples needs an engine that can run the whole model: give --repair none and a criterion that uses weights only, or prune the float model before it is quantised or optimised", err)
	}
	return err
}

// repairedPath is where the repaired tensors of a plan go.
func repairedPath(plan string) string {
	return strings.TrimSuffix(plan, filepath.Ext(plan)) + ".repaired.safetensors"
}

// attach reads the repaired tensors that a plan names, from beside the plan.
func attach(p *planner.Plan, plan string) (raw []byte, err error) {
	if p.Repaired == nil {
		return nil, nil
	}
	if filepath.Base(p.Repaired.File) != p.Repaired.File {
		return nil, fmt.Errorf("%s: the file of repaired tensors %q is not in the plan's folder", plan, p.Repaired.File)
	}
	path := filepath.Join(filepath.Dir(plan), p.Repaired.File)
	raw, err = os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: the repaired tensors are missing: %w", plan, err)
	}
	if err := prune.Attach(p, raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return raw, nil
}

// sentence is a repair for people.
func (r *repairReport) sentence() string {
	kind, may := "samples", ""
	if r.Mode == "noise" {
		kind, may = "inputs of noise", " (on real inputs it may be lower)"
	}
	if r.Method == repair.None {
		return fmt.Sprintf("repair (%s): no repair came closer to the original than pruning alone (cosine %.3f on %d %s); the model was not changed", r.Mode, r.Before.Cosine, r.Before.N, kind)
	}
	left := ""
	if n := len(r.Skipped); n > 0 {
		left = fmt.Sprintf("; not repaired: %s", strings.Join(r.Skipped[:min(n, 3)], ", "))
		if n > 3 {
			left += fmt.Sprintf(" and %d more", n-3)
		}
	}
	top1 := ""
	if r.Before.Top1 != nil && r.After.Top1 != nil {
		top1 = fmt.Sprintf(", same top-1 %.0f %% -> %.0f %%", 100**r.Before.Top1, 100**r.After.Top1)
	}
	return fmt.Sprintf("repair (%s, %s): cosine to the original's outputs %.3f -> %.3f%s on %d %s that were held back%s; %.1f s on %s%s",
		r.Mode, r.Method, r.Before.Cosine, r.After.Cosine, top1, r.After.N, kind, may, r.Seconds, r.Backend, left)
}
