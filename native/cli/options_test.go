package cli

import (
	"fmt"
	"slices"
	"testing"

	"github.com/metaprune/metaprune/prune/options"
	"github.com/stretchr/testify/require"
)

// The flags of prune are the options of the table, with its defaults and names.
func TestFlagsAreTheOptions(t *testing.T) {
	fl := (&app{}).pruneCommand().Flags()
	for _, o := range options.All {
		names := []string{o.Name}
		if o.Name == "attention" {
			names = o.Enum // a flag for each
		}
		for _, name := range names {
			flag := fl.Lookup(name)
			require.NotNil(t, flag, name)
			if c, ok := flag.Value.(choice); ok {
				require.Equal(t, slices.Concat(o.Enum, o.Local), c.names, name)
			} else {
				require.True(t, len(o.Enum) == 0 || o.Name == "attention", "%s takes any text", name)
			}
			if o.Default != nil {
				require.Equal(t, fmt.Sprint(o.Default), flag.DefValue, name)
			}
		}
	}
}
