package planner

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/stretchr/testify/require"
)

// Plans of every version that was ever written replay to the bytes that they gave then.
func TestPlansOfEveryVersion(t *testing.T) {
	for _, c := range []struct{ plan, model, sha string }{
		{"v1-channels", "mlp_bn.ts", "93ad4fb2b95af07d35ead61b6fdefa57ecc57282cccba2ad518a407838cdc461"},
		{"v1-zeros", "mlp_bn.ts", "51a276529deb9db507ff243a7e1ca1758d73862a57d3020055352a6b503362ab"},
		{"v1-heads", "heads.ts", "c5dceafc5048e816ff26f544fcb34a95fe2edaac41d34a8cf2bcb22bc98fc091"},
		{"v1-repaired", "mlp_bn.ts", "f03918ebacb616c3c19728c8e1d85ca8a5d789a6dfc0f42473bbbea28ecbc5ec"},
		{"v3-hidden", "gn21", "e224a82fd8e451cab4b689436c4914eaea0ab483509acc06e7b8c0bb8afa4fbf"},
		{"v2-heads", "heads.ts", "c5dceafc5048e816ff26f544fcb34a95fe2edaac41d34a8cf2bcb22bc98fc091"},
	} {
		t.Run(c.plan, func(t *testing.T) {
			raw, err := os.ReadFile("testdata/plans/" + c.plan + ".json")
			require.NoError(t, err)
			p, err := ParsePlan(raw)
			require.NoError(t, err)
			data, err := os.ReadFile("../../testdata/models/" + c.model + ".onnx")
			require.NoError(t, err)
			require.NoError(t, p.Check(fmt.Sprintf("%x", sha256.Sum256(data))))
			m, err := onnxio.Decode(data, nil)
			require.NoError(t, err)
			a, err := coupling.Analyze(m)
			require.NoError(t, err)
			if p.Repaired != nil {
				_, err := Apply(a, p)
				require.ErrorContains(t, err, "it needs the file of repaired tensors")
				attachFile(t, p)
			}
			small, err := Apply(a, p)
			require.NoError(t, err)
			out, err := small.Marshal()
			require.NoError(t, err)
			require.Equal(t, c.sha, fmt.Sprintf("%x", sha256.Sum256(out)))
			again, err := MarshalPlan(p)
			require.NoError(t, err)
			require.JSONEq(t, string(raw), string(again), "a plan is written as it was read, in its version")
		})
	}
}

func attachFile(t *testing.T, p *Plan) {
	t.Helper()
	data, err := os.ReadFile("testdata/plans/" + p.Repaired.File)
	require.NoError(t, err)
	require.NoError(t, p.Attach(fmt.Sprintf("%x", sha256.Sum256(data)), func() (map[string]Numbers, error) {
		f, err := safetensors.Parse(data)
		out := map[string]Numbers{}
		for name, x := range f.Tensors {
			out[name] = x
		}
		return out, err
	}))
}

// What a plan asks for beyond what this program knows is refused, by name.
func TestPlansThatAreNotUnderstood(t *testing.T) {
	const head = `"format":"metaprune-plan","model_sha256":"0000000000000000000000000000000000000000000000000000000000000000","criterion":"l2","seed":0,"weights":"original"`
	for _, c := range []struct{ name, plan, want string }{
		{"nothing more", `{"version":1,` + head + `}`, ""},
		{"this version", `{"version":2,` + head + `,"groups":[{"id":"g1","name":"a","size":1,"removed":[]}]}`, ""},
		{"a newer version", `{"version":4,` + head + `}`, "made by a newer metaprune (plan version 4); this program reads versions 1 to 3"},
		{"a hash of data in an old version", `{"version":2,` + head + `,"data_sha256":"` + strings.Repeat("0", 64) + `"}`, `field "data_sha256" is of plan version 3`},
		{"a count in an old version", `{"version":2,` + head + `,"achieved":{"seen_macs_ignored":true}}`, `field "achieved.seen_macs_ignored" is of plan version 3`},
		{"a short hash of data", `{"version":3,` + head + `,"data_sha256":"00"}`, "data_sha256 is no SHA-256"},
		{"a newer version with a new field", `{"version":9,` + head + `,"dance":true}`, "made by a newer metaprune (plan version 9)"},
		{"no version", `{` + head + `}`, "version 0, want 1 to 3"},
		{"a negative version", `{"version":-1,` + head + `}`, "version -1"},
		{"an unknown field", `{"version":2,` + head + `,"rotated":[]}`, `unknown field "rotated"; plan version 2 has no such field`},
		{"an unknown field in an entry", `{"version":1,` + head + `,"removed":[{"tensor":"a","axis":0,"indices":[],"stride":2}]}`, `unknown field "stride"`},
		{"an unknown target", `{"version":1,` + head + `,"target":{"latency":2}}`, `unknown field "latency"`},
		{"a later field in an old version", `{"version":1,` + head + `,"groups":[{"name":"b","size":1,"removed":[]},{"id":"g1","name":"a","size":1,"removed":[]}]}`, `field "groups[1].id" is of plan version 2, and the plan has version 1`},
		{"unknown weights", `{"version":1,` + strings.Replace(head, "original", "averaged", 1) + `}`, `weights is "averaged"`},
		{"an unknown repair", `{"version":1,` + head + `,"repair":"dreams"}`, `repair is "dreams"`},
		{"a word for a number", `{"version":2,` + head + `,"removed":[{"tensor":"a","axis":"first","indices":[]}]}`, "cannot unmarshal string"},
		{"two plans", `{"version":1,` + head + `}{}`, "not readable as JSON"},
		{"another format", `{"format":"recipe","version":1}`, `format is "recipe"`},
		{"a short hash", `{"version":1,"format":"metaprune-plan","model_sha256":"00"}`, "model_sha256 is missing or no SHA-256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParsePlan([]byte(c.plan))
			if c.want == "" {
				require.NoError(t, err)
				require.NotNil(t, p)
				return
			}
			require.ErrorContains(t, err, c.want)
			var e *PlanError
			require.ErrorAs(t, err, &e)
		})
	}
}

// fieldsOf lists the fields of a type as a plan writes them, by version.
func fieldsOf(path string, t reflect.Type, out map[string][]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		inner, at := f.Type, path+name
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			if inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
				at += "[]"
			}
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			fieldsOf(at+".", inner, out)
			continue
		}
		since := f.Tag.Get("since")
		if since == "" {
			since = "1"
		}
		out[since] = append(out[since], at)
	}
}

// docs/formats.md lists the fields of each version. Version 1 is closed: a field that is added needs the tag "since", and where its version has been released, PlanVersion has to count up.
func TestFieldsOfPlanVersions(t *testing.T) {
	page, err := os.ReadFile("../../docs/formats.md")
	require.NoError(t, err)
	fields := map[string][]string{}
	fieldsOf("", reflect.TypeFor[Plan](), fields)
	require.Len(t, fields, PlanVersion, "the tags since and PlanVersion belong together")
	require.Len(t, fields["1"], 34)
	for version, want := range fields {
		row := regexp.MustCompile(`(?m)^\| ` + version + ` \| (.*?)(\. |\|$)`).FindSubmatch(page)
		require.NotNil(t, row, "docs/formats.md has no row of version %s", version)
		var said []string
		for _, f := range regexp.MustCompile("`([^`]+)`").FindAllSubmatch(row[1], -1) {
			said = append(said, string(f[1]))
		}
		slices.Sort(want)
		slices.Sort(said)
		require.Equal(t, want, said, "version %s in docs/formats.md", version)
	}
}

// What decoding takes is bounded by what PlanMemory says, whatever the text is made of.
func TestPlanMemory(t *testing.T) {
	plan := func(rest string) []byte {
		return []byte(`{"format":"metaprune-plan","version":1,"model_sha256":"` + strings.Repeat("0", 64) + `",` + rest + `}`)
	}
	list := func(item string, n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	names := make([]string, 20_000)
	for i := range names {
		names[i] = fmt.Sprintf(`"%d":0`, i)
	}
	for name, data := range map[string][]byte{
		"empty entries": plan(`"removed":` + list("{}", 100_000)),
		"empty groups":  plan(`"groups":` + list("{}", 100_000)),
		"empty zeros":   plan(`"zeroed":` + list("{}", 100_000)),
		"indices":       plan(`"removed":[{"tensor":"a","axis":0,"indices":` + list("0", 500_000) + `}]`),
		"many of one":   plan(`"removed":` + list(`{"tensor":"a","axis":0,"indices":[0]}`, 20_000)),
		"offsets":       plan(`"allocation":{` + strings.Join(names, ",") + `}`),
	} {
		t.Run(name, func(t *testing.T) {
			require.True(t, json.Valid(data))
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			p, err := ParsePlan(data)
			runtime.GC()
			runtime.ReadMemStats(&after)
			require.NoError(t, err)
			kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
			require.Less(t, kept, PlanMemory(data))
			require.Less(t, PlanMemory(data), int64(100*len(data)))
			total := int64(after.TotalAlloc - before.TotalAlloc)
			t.Logf("%d bytes: %d kept, %d taken, bound %d", len(data), kept, total, PlanMemory(data))
			runtime.KeepAlive(p)
		})
	}
}
