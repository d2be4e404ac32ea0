package onnxio

import (
	"os"
	"sync"
)

// temporary are the files that are being written under another name than their own.
var temporary struct {
	sync.Mutex
	paths map[string]bool
}

// noteTemporary has RemoveTemporary remove a file until the result is called.
func noteTemporary(path string) (forget func()) {
	temporary.Lock()
	defer temporary.Unlock()
	if temporary.paths == nil {
		temporary.paths = map[string]bool{}
	}
	temporary.paths[path] = true
	return func() {
		temporary.Lock()
		defer temporary.Unlock()
		delete(temporary.paths, path)
	}
}

// RemoveTemporary removes the files that WriteFile is writing at this moment, for a process that ends without waiting for them. It does not return to them: no WriteFile can finish afterwards.
func RemoveTemporary() {
	temporary.Lock() // for good: no WriteFile ends after this
	removeNoted()
}

func removeNoted() {
	for path := range temporary.paths {
		_ = os.Remove(path)
	}
}
