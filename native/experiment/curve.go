package experiment

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune/planner"
)

// Point is what was measured at one speed-up.
type Point struct {
	Model     string  `json:"model"`
	Criterion string  `json:"criterion"`
	Seed      int64   `json:"seed"`
	Wanted    float64 `json:"wanted"` // speed-up
	SpeedUp   float64 `json:"speed_up"`
	Params    int64   `json:"params"`
	Bytes     int64   `json:"file_bytes"`
	Accuracy  float64 `json:"accuracy"`
	Loss      float64 `json:"loss"`
	Repair    string  `json:"repair"`
	Cosine    float64 `json:"cosine,omitempty"` // to the original's outputs, where a repair measured it
}

// PointsFile is the last file of a job's folder: it says that the job is done.
const PointsFile = "points.json"

// version counts up when what the points count, or the options that they follow from, change. Version 1 had no number, knew files by their names alone, and did not count products of integers.
const version = 2

// Job is what one machine measures at a time: a model by one criterion and one seed at all speed-ups, or the model itself.
type Job struct {
	Version     int     `json:"version"`
	Model       string  `json:"model"`
	ModelSHA256 string  `json:"model_sha256"`
	Criterion   string  `json:"criterion"`
	Seed        int64   `json:"seed"`
	Options     Options `json:"options"`
	Points      []Point `json:"points"`
}

// Options is what the numbers follow from beside model, criterion and seed.
type Options struct {
	SpeedUps   []string `json:"speed_ups"`
	Weights    string   `json:"weights"`
	Allocation string   `json:"allocation"` // name and hash of the file
	Ranking    string   `json:"ranking"`
	Metanet    string   `json:"metanet"` // name and hash of the file
	Repair     string   `json:"repair"`
	Calibrate  string   `json:"calibrate"`
	Samples    int      `json:"samples"`
	Data       []string `json:"data"` // the set, and how its inputs are made
	Limit      int      `json:"limit"`
}

// Folder is the name of the folder that keeps the job's points.
func (j *Job) Folder() string {
	if j.Criterion == "none" {
		return j.Model + ".none"
	}
	return fmt.Sprintf("%s.%s.s%d", j.Model, j.Criterion, j.Seed)
}

// Jobs lists what there is to measure of a model, in one order: the model itself, then every criterion with every seed.
func Jobs(model, sha string, criteria []string, seeds []int64, o Options) []*Job {
	job := func(criterion string, seed int64) *Job {
		return &Job{Version: version, Model: model, ModelSHA256: sha, Criterion: criterion, Seed: seed, Options: o}
	}
	out := []*Job{job("none", seeds[0])}
	for _, c := range criteria {
		for _, seed := range seeds {
			out = append(out, job(c, seed))
		}
	}
	return out
}

// Keep calls do with whether a folder has the job's points, which it then takes over, and writes those that do makes.
func (j *Job) Keep(folder string, do func(done bool) error) error {
	path := filepath.Join(folder, j.Folder(), PointsFile)
	text, err := os.ReadFile(path)
	if err == nil {
		return errors.Join(j.take(text, path), do(true))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := do(false); err != nil || j.Points == nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return outfile.Write(path, func(w io.Writer) error { return json.NewEncoder(w).Encode(j) })
}

// take takes over the points of an earlier run, which has to have measured the same.
func (j *Job) take(text []byte, path string) error {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return fmt.Errorf("%s: %w; remove it to measure these points again", path, err)
	}
	if head.Version != version {
		return fmt.Errorf("%s holds points of version %d, and this program measures version %d; choose another output, or remove it to measure these points again", path, max(head.Version, 1), version)
	}
	var had Job
	if err := planner.Strict(text, &had); err != nil {
		return fmt.Errorf("%s: %w; remove it to measure these points again", path, err)
	}
	if had.ModelSHA256 != j.ModelSHA256 || had.Criterion != j.Criterion || had.Seed != j.Seed || !reflect.DeepEqual(had.Options, j.Options) {
		return fmt.Errorf("%s holds points of another model or of other options; choose another output", path)
	}
	j.Points = had.Points
	return nil
}

// HashedFile is the name of a file with the hash of what it holds, so that another file of that name is another option; nothing for no file.
func HashedFile(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Sprintf("%s sha256:%x", filepath.Base(path), sum.Sum(nil)), nil
}
