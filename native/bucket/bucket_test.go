package bucket

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/native/bucket/buckettest"
	"github.com/stretchr/testify/require"
)

func write(t *testing.T, text string, path ...string) {
	t.Helper()
	p := filepath.Join(path...)
	require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
	require.NoError(t, os.WriteFile(p, []byte(text), 0o644))
}

func text(t *testing.T, path ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return string(raw)
}

func TestMirror(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	shared, one, two := filepath.Join(dir, "shared"), filepath.Join(dir, "one"), filepath.Join(dir, "two")
	b, err := Open(ctx, "file://"+shared)
	require.NoError(t, err)
	m := b.Mirror("job", one, "job.json")
	require.NoError(t, m.Pull(ctx), "nothing is there")
	write(t, "a", one, "job", "train", "checkpoint")
	write(t, "done", one, "job", "job.json")
	require.NoError(t, m.Push(ctx))
	require.Equal(t, []string{"x", "y", "job.json"}, m.order(map[string]stamp{"y": {}, "job.json": {}, "x": {}}))
	require.Equal(t, "a", text(t, shared, "job", "train", "checkpoint"))

	// Only what changed goes up again.
	write(t, "meddled with", shared, "job", "train", "checkpoint")
	write(t, "done again", one, "job", "job.json")
	require.NoError(t, m.Push(ctx))
	require.Equal(t, "meddled with", text(t, shared, "job", "train", "checkpoint"))
	require.Equal(t, "done again", text(t, shared, "job", "job.json"))

	// Another machine goes on from there.
	other := b.Mirror("job", two, "job.json")
	require.NoError(t, other.Pull(ctx))
	require.Equal(t, "meddled with", text(t, two, "job", "train", "checkpoint"))
	names, err := b.List(ctx, "")
	require.NoError(t, err)
	require.Equal(t, []string{"job/job.json", "job/train/checkpoint"}, names)
	require.NoError(t, b.Fetch(ctx, filepath.Join(dir, "three"), func(n string) bool { return n == "job/job.json" }))
	require.NoFileExists(t, filepath.Join(dir, "three", "job", "train", "checkpoint"))
	require.Equal(t, "done again", text(t, dir, "three", "job", "job.json"))
	require.NoError(t, b.Close())
}

func TestS3(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	jobs := buckettest.S3(t, "run/jobs/")
	b, err := Open(ctx, jobs)
	require.NoError(t, err)
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	write(t, "a", one, "job", "train", "checkpoint")
	write(t, "", one, "job", "empty")
	write(t, "done", one, "job", "job.json")
	require.NoError(t, b.Mirror("job", one, "job.json").Push(ctx))

	other := b.Mirror("job", two, "job.json")
	require.NoError(t, other.Pull(ctx))
	require.Equal(t, "a", text(t, two, "job", "train", "checkpoint"))
	require.Empty(t, text(t, two, "job", "empty"))
	write(t, "b, which is longer", two, "job", "train", "checkpoint")
	require.NoError(t, other.Push(ctx))
	require.NoError(t, b.Fetch(ctx, filepath.Join(dir, "three"), func(string) bool { return true }))
	require.Equal(t, "b, which is longer", text(t, dir, "three", "job", "train", "checkpoint"))
	require.NoError(t, b.Close())

	// Folders of one bucket do not see each other.
	for url, want := range map[string][]string{
		jobs: {"job/empty", "job/job.json", "job/train/checkpoint"},
		strings.Replace(jobs, "run/jobs/", "run", 1): {"jobs/job/empty", "jobs/job/job.json", "jobs/job/train/checkpoint"},
		strings.Replace(jobs, "run/jobs/", "ru", 1):  nil,
	} {
		b, err := Open(ctx, url)
		require.NoError(t, err)
		names, err := b.List(ctx, "")
		require.NoError(t, err)
		require.Equal(t, want, names, url)
		require.NoError(t, b.Close())
	}

	missing, err := Open(ctx, strings.Replace(jobs, "s3://jobs", "s3://nowhere", 1))
	require.NoError(t, err)
	_, err = missing.List(ctx, "")
	require.ErrorContains(t, err, "s3://nowhere/run/jobs/")
	require.ErrorContains(t, missing.Mirror("job", one, "job.json").Push(ctx), "job/empty")
	require.NoError(t, missing.Close())
	require.Equal(t, "s3://jobs/run/jobs/job/model.onnx", Name(jobs, "/job/model.onnx"))
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"file://relative", "nothing://x", "s3://"} {
		_, err := Open(context.Background(), url)
		require.Error(t, err, url)
	}
	require.True(t, Is("s3://bucket/folder"))
	require.False(t, Is("/folder"))
}
