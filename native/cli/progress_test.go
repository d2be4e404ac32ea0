package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A stage in words: how far, how long, and how long it will still take.
func TestStageInWords(t *testing.T) {
	at := time.Unix(0, 0)
	s := &stages{out: &bytes.Buffer{}, now: func() time.Time { return at }}
	g := s.begin("repair")
	at = at.Add(10 * time.Second)
	require.Equal(t, "repair: 10s", g.line(at))
	g.set(25, 100)
	require.Equal(t, "repair: 25 %, 10s, about 30s left", g.line(at))
	g.set(100, 100)
	require.Equal(t, "repair: 100 %, 10s, about 0s left", g.line(at))
	g.set(1, 100) // anew
	at = at.Add(2 * time.Second)
	require.Equal(t, "repair: 1 %, 2s, about 3m18s left", g.line(at))
	var none *stage
	none.set(1, 2)
	none.end()
	require.Nil(t, (*stages)(nil).begin("x"))
}

// What is said is where the innermost stage is.
func TestStagesSayWhereTheyAre(t *testing.T) {
	var out bytes.Buffer
	s := newStages(locked(&out), "prune", time.Hour)
	say := func() string {
		out.Reset()
		s.say()
		return out.String()
	}
	require.Equal(t, "prune: 0s\n", say())
	outer := s.begin("search")
	inner := s.begin("repair")
	inner.set(1, 2)
	require.Contains(t, say(), "repair: 50 %")
	inner.end()
	require.Equal(t, "search: 0s\n", say())
	s.begin("forgotten")
	outer.end()
	require.Equal(t, "prune: 0s\n", say())
	s.end()
	require.Empty(t, say())
	s.end()
}

// Commands say on standard error where they are, unless they are told to be quiet.
func TestCommandsSayWhereTheyAre(t *testing.T) {
	long := []string{"prune", fashion, "--speed-up", "2", "--repair", "noise", "--samples", "20", "--backend", "go", "--dry-run=false", "-o", "-"}
	said := func(args ...string) string {
		var out, errOut bytes.Buffer
		w := locked(&errOut)
		a := &app{in: strings.NewReader(""), out: &out, err: w, every: 20 * time.Millisecond}
		root := a.root()
		root.SetArgs(args)
		require.NoError(t, root.ExecuteContext(context.Background()))
		a.stages.end()
		return errOut.String()
	}
	require.Regexp(t, `(?m)^repair: \d+ %, \ds, about \d+s left$`, said(append(long, "--json")...))
	require.Regexp(t, `(?m)^repair: \d+ %, \ds, about \d+s left$`, said(long...))
	require.Empty(t, said(append(long, "-q")...))
	require.NotRegexp(t, `(?m)^version: `, said("version"))
}
