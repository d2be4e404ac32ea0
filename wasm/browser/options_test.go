package main

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/prune/options"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// What the module's messages and TypeScript types call an option, where that is not its name with underscores.
var called = map[string]string{"count-computed": "computed", "input": "inputs", "size": "bytes"}

// The messages of the page and the types of the npm module know every option of the table but weights: there the original ones are kept.
func TestMessagesHaveTheOptions(t *testing.T) {
	fields := map[string]bool{}
	for _, typ := range []reflect.Type{reflect.TypeFor[request](), reflect.TypeFor[planner.Target]()} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			fields[name] = true
		}
	}
	delete(fields, "target")
	source, err := os.ReadFile("npm/index.d.ts")
	require.NoError(t, err)
	types := map[string]string{}
	for _, name := range []string{"Target", "Options"} {
		body := regexp.MustCompile(`(?s)export interface ` + name + ` \{(.*?)\}`).FindStringSubmatch(string(source))
		require.NotNil(t, body, name)
		for _, m := range regexp.MustCompile(`(\w+)\?: ([^;]+)`).FindAllStringSubmatch(body[1], -1) {
			types[m[1]] = strings.TrimSpace(m[2])
		}
	}
	delete(types, "target")
	var want []string
	for _, o := range options.All {
		name := strings.ReplaceAll(o.Name, "-", "_")
		if c := called[o.Name]; c != "" {
			name = c
		}
		if o.Name == "weights" || o.Engine {
			continue
		}
		want = append(want, name)
		for _, v := range o.Enum {
			require.Contains(t, types[name], `"`+v+`"`, name)
		}
		for _, v := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(types[name], -1) {
			require.True(t, slices.Contains(o.Enum, v[1]) || slices.Contains(o.Local, v[1]), "%s: %s", name, v[1])
		}
	}
	var got, typed []string
	for name := range fields {
		got = append(got, name)
	}
	for name := range types {
		typed = append(typed, name)
	}
	require.ElementsMatch(t, want, got)
	require.ElementsMatch(t, want, typed)
}
