//go:build cgo && (linux || darwin)

package xla

import (
	"fmt"
	"strings"

	goxla "github.com/gomlx/go-xla/compute/xla"
)

// pluginProblem says why an XLA backend cannot be opened; nil where its plugin is installed.
func pluginProblem(kind string) (err error) {
	defer Caught(&err)
	goxla.EnableAutoInstall(false)
	name := strings.TrimPrefix(kind, "xla:")
	for _, p := range goxla.GetAvailablePlugins() {
		if strings.Contains(strings.ToLower(p), name) {
			return nil
		}
	}
	return fmt.Errorf("backend %s: no PJRT plugin for %s is installed; %s", kind, name, installHint(kind))
}
