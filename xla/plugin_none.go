//go:build !cgo || !(linux || darwin)

package xla

import "fmt"

// pluginProblem says that this build has no XLA.
func pluginProblem(kind string) error {
	return fmt.Errorf("backend %s: this program was built without cgo, which XLA's plugins need; build it with CGO_ENABLED=1 on Linux or macOS, or use option \"backend go\"", kind)
}
