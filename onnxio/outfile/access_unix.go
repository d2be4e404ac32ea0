//go:build linux || darwin

package outfile

import "syscall"

// writable says why no file can be made in a folder.
func writable(dir string) error {
	const execute, write = 1, 2
	return syscall.Access(dir, execute|write)
}
