package main

import (
	"os"
	"slices"
	"syscall"
)

// long are the commands that compute for minutes.
var long = []string{"train", "finetune", "eval", "curve", "metatrain", "pipeline"}

// useHugePages starts the program again with glibc's huge pages where a long command asks XLA for large buffers over and over and would
// pay for their page faults each time. Where the C library knows no such setting, nothing changes.
func useHugePages() {
	const setting = "GLIBC_TUNABLES"
	if len(os.Args) < 2 || !slices.Contains(long, os.Args[1]) || os.Getenv(setting) != "" {
		return
	}
	self, err := os.Executable()
	if err != nil {
		return
	}
	_ = syscall.Exec(self, os.Args, append(os.Environ(), setting+"=glibc.malloc.hugetlb=1")) //nolint:gosec // itself; on failure this process goes on
}
