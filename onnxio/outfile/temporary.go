package outfile

import (
	"os"
	"sync"
)

// temporary are the files of this process that have no name of their own yet.
var temporary struct {
	sync.Mutex
	paths map[string]bool
}

// made makes a file that RemoveTemporary removes.
func made(path string, mode os.FileMode) (*os.File, error) {
	temporary.Lock()
	defer temporary.Unlock()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	if temporary.paths == nil {
		temporary.paths = map[string]bool{}
	}
	temporary.paths[path] = true
	return f, nil
}

// settle does what makes files permanent or removes them, and forgets them where it succeeds. RemoveTemporary comes before it or after it.
func settle(do func() error, paths ...string) error {
	temporary.Lock()
	defer temporary.Unlock()
	if err := do(); err != nil {
		return err
	}
	for _, path := range paths {
		delete(temporary.paths, path)
	}
	return nil
}

// RemoveTemporary removes the files that are being written at this moment, for a process that ends without waiting for them. No write ends afterwards: what is not written yet never will be.
func RemoveTemporary() {
	temporary.Lock() // for good
	removeNoted()
}

func removeNoted() {
	for path := range temporary.paths {
		_ = os.Remove(path)
	}
}
