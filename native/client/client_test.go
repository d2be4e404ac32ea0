package client

import (
	"net/url"
	"reflect"
	"testing"

	"github.com/metaprune/metaprune/prune/options"
	"github.com/stretchr/testify/require"
)

// The client sends every option of the table, and none else.
func TestQueryHasTheOptions(t *testing.T) {
	var o Options
	v := reflect.ValueOf(&o).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Float64:
			f.SetFloat(.5)
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"x"}))
		default:
			f.SetInt(2)
		}
	}
	q, err := url.ParseQuery(o.query())
	require.NoError(t, err)
	var sent []string
	for name := range q {
		sent = append(sent, name)
	}
	require.ElementsMatch(t, options.Names(), sent)
}
