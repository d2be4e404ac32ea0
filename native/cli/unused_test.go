package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Flags that would be ignored are refused, and named.
func TestFlagsThatWouldBeIgnored(t *testing.T) {
	dir := t.TempDir()
	plan, out := filepath.Join(dir, "p.json"), filepath.Join(dir, "o.onnx")
	ok(t, "prune", fashion, "--speed-up", "1.2", "--dry-run", "--plan", plan, "-q")
	for args, want := range map[string]string{
		"prune MODEL --from-plan PLAN -o OUT --speed-up 2":                               "--from-plan repeats a plan as it is: omit --speed-up",
		"prune MODEL --from-plan PLAN -o OUT --criterion l1 --ignore x --round-to 8":     "--from-plan repeats a plan as it is: omit --criterion, --ignore and --round-to",
		"prune MODEL --from-plan PLAN -o OUT --heads":                                    "omit --heads",
		"prune MODEL --from-plan PLAN -o OUT --pattern 2:4":                              "omit --pattern",
		"prune MODEL --from-plan PLAN -o OUT --calibrate x":                              "omit --calibrate",
		"prune MODEL --from-plan PLAN -o OUT --latency 2":                                "omit --latency",
		"prune MODEL --from-plan PLAN -o OUT --seed 3":                                   "omit --seed",
		"prune MODEL --pattern 2:4 --speed-up 2 -o OUT":                                  "--pattern 2:4 sets zeros among the smallest weights of every layer: omit --speed-up",
		"prune MODEL --pattern unstructured --criterion fpgm -o OUT":                     "omit --criterion",
		"prune MODEL --pattern 2:4 --sparsity 0.3 -o OUT":                                "--sparsity has no effect here; it needs --pattern unstructured",
		"prune MODEL --speed-up 2 --sparsity 0.3 -o OUT":                                 "--sparsity has no effect here; it needs --pattern unstructured",
		"prune MODEL --speed-up 2 --metanet x -o OUT":                                    "--metanet has no effect here; it needs --criterion metanet",
		"prune MODEL --speed-up 2 --memory 1GB -o OUT":                                   "--memory has no effect here; it needs --calibrate or --criterion metanet",
		"prune MODEL --ratio 0.2 --count-computed -o OUT":                                "it needs --speed-up",
		"prune MODEL --speed-up 2 --samples 50 -o OUT":                                   "it needs --calibrate or --repair",
		"prune MODEL --speed-up 2 --data x --batch 5 -o OUT":                             "--data and --batch have no effect here; they need --accuracy or --criterion taylor",
		"prune MODEL --speed-up 2 --criterion taylor --data x --limit 5 -o OUT":          "--limit has no effect here; it needs --accuracy",
		"prune MODEL --speed-up 2 --criterion obs --repair noise --reduction max -o OUT": "--reduction has no effect here; it needs a criterion that uses weights only, not obs",
		"prune MODEL --speed-up 2 --mean 0.5 -o OUT":                                     "--mean has no effect here",
		"prune MODEL --accuracy 0.9 --data x --images y -o OUT":                          "--images has no effect here; it needs no --data",
		"eval MODEL --labels x":                                                          "--labels has no effect here; it needs --images",
		"train MODEL --images x --labels y --gamma 0.2":                                  "--gamma has no effect here; it needs --schedule step",
		"finetune MODEL --images x --labels y --distil 0.2":                              "--distil has no effect here; it needs --teacher",
		"train MODEL --data x --optimizer adamw --momentum 0.8":                          "--momentum has no effect here; it needs --optimizer sgd",
		"train MODEL --data x --no-augment --crop 4":                                     "--crop has no effect here",
		"pipeline MODEL --data x --own-weights --epochs 3":                               "--epochs has no effect here",
		"pipeline MODEL --data x --own-weights --memory 1GB":                             "--memory has no effect here",
		"pipeline MODEL --data x --own-weights --pattern 2:4 --speed-up 2":               "--speed-up has no effect here",
		"curve MODEL --data x --weights metanet":                                         "--weights has no effect here; it needs --criterion metanet",
		"curve MODEL --data x --seed 1 --seeds 1,2":                                      "--seed has no effect here",
		"allocate MODEL --data x --limit 5":                                              "--limit has no effect here",
		"analyse MODEL --batch 5":                                                        "--batch has no effect here",
		"metatrain MODEL --data x --metanet y --hidden 8":                                "--hidden has no effect here",
		"metatrain MODEL --data x --temperature 2":                                       "--temperature has no effect here; it needs --objective masks",
		"metatrain MODEL --data x --objective masks --alpha 2":                           "--alpha has no effect here; it needs --objective weights",
		"metatrain MODEL --data x --validate-every 2":                                    "--validate-every has no effect here; it needs --validate",
		"verify MODEL MODEL --engine ort":                                                "--engine has no effect here; it needs --plan",
		"new resnet20 --width 2 --widths 8,16,32":                                        "--width has no effect here",
		"task --smoke": "without a name the tasks are listed: omit --smoke",
	} {
		code, _, said := run(t, strings.Fields(strings.NewReplacer("MODEL", fashion, "PLAN", plan, "OUT", out).Replace(args))...)
		require.Equal(t, exitInput, code, "%s: %s", args, said)
		require.Contains(t, said, want, args)
		require.NoFileExists(t, out)
	}
	ok(t, "prune", fashion, "--from-plan", plan, "-o", out, "--plan", filepath.Join(dir, "again.json"), "-q", "--memory", "1GB")
	ok(t, "prune", fashion, "--pattern", "2:4", "--ignore", "layers.1.*", "-o", filepath.Join(dir, "z.onnx"), "-q")
}
