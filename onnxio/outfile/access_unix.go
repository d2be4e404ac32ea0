//go:build linux || darwin

package outfile

import "syscall"

const execute, write = 1, 2

// writable says why no file can be made in a folder.
func writable(dir string) error { return syscall.Access(dir, execute|write) }

// replaceable says why a file may not be written.
func replaceable(path string) error { return syscall.Access(path, write) }
