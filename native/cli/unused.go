package cli

import (
	"fmt"
	"strings"

	"github.com/metaprune/metaprune/prune/planner"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// unused finds flags that are given and would have no effect, so that none is ignored without a word.
type unused struct {
	flags *pflag.FlagSet
	err   error
}

func unusedIn(c *cobra.Command) *unused { return &unused{flags: c.Flags()} }

// unless refuses the flags that are given where what they need is not; needs says what that is.
func (u *unused) unless(used bool, needs string, names ...string) *unused {
	if found := u.given(names); !used && len(found) > 0 && u.err == nil {
		list, verb := dashed(found), "has no effect here; it needs"
		if len(found) > 1 {
			verb = "have no effect here; they need"
		}
		u.err = &usageError{list, needs, list, list + " " + verb + " " + needs}
	}
	return u
}

// only refuses the flags that are given where just some have an effect; why begins the sentence.
func (u *unused) only(when bool, why string, names ...string) *unused {
	if !when || u.err != nil {
		return u
	}
	kept := map[string]bool{"json": true, "quiet": true, "help": true}
	for _, n := range names {
		kept[n] = true
	}
	var found []string
	u.flags.Visit(func(f *pflag.Flag) {
		if !kept[f.Name] {
			found = append(found, f.Name)
		}
	})
	if len(found) > 0 {
		list := dashed(found)
		u.err = &usageError{list, "no such flag", list, fmt.Sprintf("%s: omit %s", why, list)}
	}
	return u
}

func (u *unused) given(names []string) []string {
	var out []string
	for _, n := range names {
		if u.flags.Changed(n) {
			out = append(out, n)
		}
	}
	return out
}

func dashed(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "--" + n
	}
	return strings.Replace(planner.Listed(out), " or ", " and ", 1)
}

// data finds flags of a data set that name nothing.
func (u *unused) data(d *dataFlags) *unused {
	u.unless(d.spec == "", "no --data, which names the images already", "images", "labels")
	return u.unless(d.images != "" || d.spec != "", "--images", "labels")
}

// calibrateFlags say how files become calibration samples.
var calibrateFlags = []string{"resize", "sample-rate", "tokenizer", "tokens"}

// unused finds flags of prune that would be ignored, but for --seed and --backend: where nothing is drawn or run, they are true of nothing.
func (f *pruneFlags) unused(c *cobra.Command) error {
	u := unusedIn(c)
	u.only(f.planIn != "", "--from-plan repeats a plan as it is", "from-plan", "output", "force", "plan", "dry-run", "metanet", "memory", "input")
	zeros := f.pattern != "channels"
	names := []string{"pattern", "sparsity", "ignore", "output", "force", "plan", "dry-run", "input", "seed", "backend", "repair", "calibrate", "samples", "accuracy", "latency", "data", "images", "labels"} // the last ones are refused by check
	if f.criterion == "metanet" {
		names = append(names, "criterion", "weights", "metanet", "memory")
	}
	u.only(zeros, "--pattern "+f.pattern+" sets zeros among the smallest weights of every layer", names...)
	u.unless(f.pattern == "unstructured", "--pattern unstructured", "sparsity")
	u.unless(f.criterion == "metanet" || f.planIn != "", "--criterion metanet", "metanet", "weights")
	u.unless(f.speedUp != 0, "--speed-up", "count-computed")
	u.unless(!looksAtData(f.criterion), "a criterion that uses weights only, not "+f.criterion, "reduction", "normalizer")
	repaired := f.repair.mode != "none" && f.repair.mode != "" || f.repair.calibrate != ""
	u.unless(repaired || f.criterion == "metanet" || f.planIn != "", "--calibrate or --criterion metanet", "memory")
	labelled := f.accuracy != 0 || f.criterion == taylorCriterion
	u.unless(repaired, "--calibrate or --repair", "samples")
	u.unless(f.repair.calibrate != "", "--calibrate", calibrateFlags...)
	u.unless(labelled, "--accuracy or --criterion taylor", "data", "images", "labels", "batch")
	u.unless(f.accuracy != 0, "--accuracy", "limit")
	u.unless(labelled || repaired, "images: --calibrate, or --data with --accuracy", "mean", "std")
	return u.data(&f.data).err
}

// unused finds flags of training that would be ignored.
func (f *trainFlags) unused(c *cobra.Command) *unused {
	u := unusedIn(c).data(&f.data)
	u.unless(f.config.Schedule == "step", "--schedule step", "milestones", "gamma")
	u.unless(f.teacher != "", "--teacher", "distil", "temperature")
	u.unless(f.config.Options.Optimizer == "sgd", "--optimizer sgd", "momentum", "nesterov")
	return u.unless(!f.noAugment, "augmentation, which --no-augment switches off", "crop", "flip", "cutout")
}

// unused finds flags of the pipeline that would be ignored.
func (f *pipelineFlags) unused(c *cobra.Command) error {
	u := f.trainFlags.unused(c)
	u.unless(false, "a command that trains once, such as finetune", "epochs", "keep", "keep-zeros", "teacher", "distil", "temperature")
	u.unless(f.pipeline.Pattern == "", "no --pattern, which sets zeros among the smallest weights", "speed-up", "criterion")
	u.unless(f.pipeline.Pattern == "unstructured", "--pattern unstructured", "sparsity")
	return u.unless(!f.own, "a metanetwork, which --own-weights does not use", "memory").err
}

// unused finds flags of curve that would be ignored.
func (f *curveFlags) unused(c *cobra.Command) error {
	byMetanet := false
	for _, name := range f.criteria {
		byMetanet = byMetanet || name == "metanet"
	}
	u := unusedIn(c).data(&f.data)
	repaired := f.repair.mode != "none" && f.repair.mode != "" || f.repair.calibrate != ""
	u.unless(byMetanet, "--criterion metanet", "metanet", "weights")
	u.unless(byMetanet || repaired, "--calibrate or --criterion metanet", "memory")
	u.unless(repaired, "--calibrate or --repair", "samples")
	u.unless(f.repair.calibrate != "", "--calibrate", calibrateFlags...)
	return u.unless(len(f.seeds) == 0, "no --seeds, which names them all", "seed").err
}

// unused finds flags of analyse that would be ignored.
func (f *analyseFlags) unused(c *cobra.Command) error {
	u := unusedIn(c).data(&f.data)
	u.unless(f.data.spec != "" || f.data.images != "", "labelled images: --data", "batch", "limit", "mean", "std")
	return u.unless(f.rewrite || f.metanet.file != "", "--rewritten", "memory").err
}

// unused finds flags of metatrain that would be ignored.
func (f *metatrainFlags) unused(c *cobra.Command) error {
	u := unusedIn(c).data(&f.data)
	u.unless(f.start == "", "a new metanetwork, not --metanet", "hidden", "layers")
	u.unless(len(f.held) > 0, "--validate", "validate-every", "validate-speed-up")
	u.unless(f.config.Objective == "masks", "--objective masks", "least-speed-up", "most-speed-up", "temperature")
	return u.unless(f.config.Objective == "weights", "--objective weights", "sparsity", "alpha").err
}
