package experiment

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

func TestAverageOfSeeds(t *testing.T) {
	point := func(seed int64, accuracy float64) Point {
		return Point{Model: "m", Criterion: "obs", Seed: seed, Wanted: 2, SpeedUp: 2 + float64(seed)/10, Accuracy: accuracy, Loss: accuracy}
	}
	got := Average([]Point{point(0, .5), {Model: "m", Criterion: "l2", Wanted: 2, Accuracy: .9}, point(1, .7)})
	require.Len(t, got, 2)
	require.InDelta(t, .6, got[0].Accuracy, 1e-12)
	require.InDelta(t, .1, got[0].Spread, 1e-12)
	require.InDelta(t, 2.05, got[0].SpeedUp, 1e-12)
}

// Points of another version, of other options, or with an option that is not known, are not taken over.
func TestPointsThatAreNotTaken(t *testing.T) {
	job := func(metanet string) *Job {
		return Jobs("m", "00", nil, []int64{0}, Options{Metanet: metanet})[0]
	}
	had := job("one")
	had.Points = []Point{{Model: "m"}}
	text, err := json.Marshal(had)
	require.NoError(t, err)
	again := job("one")
	require.NoError(t, again.take(text, "p"))
	require.Len(t, again.Points, 1)
	require.ErrorContains(t, job("two").take(text, "p"), "of other options")
	for _, c := range [][3]string{
		{`"version":2`, `"version":3`, "holds points of version 3, and this program measures version 2"},
		{`"version":2,`, ``, "holds points of version 1"},
		{`"points"`, `"dreams":[],"points"`, `unknown field "dreams"`},
	} {
		changed := strings.Replace(string(text), c[0], c[1], 1)
		require.NotEqual(t, string(text), changed)
		require.ErrorContains(t, job("one").take([]byte(changed), "p"), c[2])
	}
}

func TestKeepMeasuresOnce(t *testing.T) {
	dir, broken := t.TempDir(), errors.New("broken")
	job := func() *Job { return Jobs("m", "00", []string{"l2"}, []int64{3}, Options{})[1] }
	require.ErrorIs(t, job().Keep(dir, func(bool) error { return broken }), broken)
	require.NoError(t, job().Keep(dir, func(done bool) error { require.False(t, done); return nil }))
	require.NoFileExists(t, filepath.Join(dir, "m.l2.s3", PointsFile))
	first := job()
	require.NoError(t, first.Keep(dir, func(done bool) error {
		require.False(t, done)
		first.Points = []Point{{Model: "m", Accuracy: .5}}
		return nil
	}))
	again := job()
	require.NoError(t, again.Keep(dir, func(done bool) error { require.True(t, done); return nil }))
	require.Equal(t, first.Points, again.Points)
}

func TestHashedFile(t *testing.T) {
	at := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(at, []byte("x"), 0o600))
	got, err := HashedFile(at)
	require.NoError(t, err)
	require.Equal(t, "a.json sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", got)
	_, err = HashedFile(at + "x")
	require.Error(t, err)
}

func TestShards(t *testing.T) {
	t.Setenv("JOB_COMPLETION_INDEX", "")
	t.Setenv("SLURM_ARRAY_TASK_ID", "")
	k, n, err := ParseShard("")
	require.NoError(t, err)
	require.Equal(t, [2]int{0, 1}, [2]int{k, n})
	k, n, err = ParseShard("2/8")
	require.NoError(t, err)
	require.Equal(t, [2]int{2, 8}, [2]int{k, n})
	for _, s := range []string{"8/8", "-1/8", "1", "a/b", "/8", "0/0"} {
		_, _, err := ParseShard(s)
		var option *planner.OptionError
		require.ErrorAs(t, err, &option, s)
	}
	t.Setenv("SLURM_ARRAY_TASK_ID", "5")
	k, _, err = ParseShard("/8")
	require.NoError(t, err)
	require.Equal(t, 5, k)
}
