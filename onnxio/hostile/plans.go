package hostile

import (
	"fmt"
	"strings"
)

// Plans are plan files that do not fit, for a model with the weight that is named, of size rows; hash is the model's SHA-256.
func Plans(hash, weight string, size int) []File {
	plan := func(removed string) []byte {
		return []byte(fmt.Sprintf(`{"format":"metaprune-plan","version":1,"model_sha256":%q,"criterion":"l2","removed":[%s]}`, hash, removed))
	}
	cut := func(axis, indices string) string {
		return fmt.Sprintf(`{"tensor":%q,"axis":%s,"indices":[%s]}`, weight, axis, indices)
	}
	var all []string
	for i := range size {
		all = append(all, fmt.Sprint(i))
	}
	return []File{
		{"plan: empty", nil}, {"plan: null", []byte("null")}, {"plan: a list", []byte("[]")}, {"plan: deep", []byte(strings.Repeat("[", 200_000))},
		{"plan: another format", []byte(`{"format":"something","version":1}`)}, {"plan: another model", []byte(strings.Replace(string(plan("")), hash, strings.Repeat("0", 64), 1))},
		{"plan: negative axis", plan(cut("-1", "0"))}, {"plan: axis 99", plan(cut("99", "0"))}, {"plan: negative index", plan(cut("0", "-1"))}, {"plan: index beyond the end", plan(cut("0", "1000000000"))},
		{"plan: index beyond 64 bits", plan(cut("0", "99999999999999999999999"))}, {"plan: half an index", plan(cut("0", "0.5"))}, {"plan: index twice", plan(cut("0", "0,0"))}, {"plan: all of a layer", plan(cut("0", strings.Join(all, ",")))},
		{"plan: one side of a coupling", plan(cut("0", "0"))}, {"plan: unknown tensor", plan(`{"tensor":"<b>nowhere</b>\u001b[2J","axis":0,"indices":[0]}`)}, {"plan: two million indices", plan(cut("0", strings.TrimSuffix(strings.Repeat("0,", 2_000_000), ",")))},
		{"plan: zeros of nowhere", []byte(fmt.Sprintf(`{"format":"metaprune-plan","version":1,"model_sha256":%q,"criterion":"l2","zeroed":[{"tensor":"nowhere","pattern":"2:4"}]}`, hash))},
		{"plan: zeros of an odd pattern", []byte(fmt.Sprintf(`{"format":"metaprune-plan","version":1,"model_sha256":%q,"criterion":"l2","zeroed":[{"tensor":%q,"pattern":"9:-4"}]}`, hash, weight))},
	}
}
