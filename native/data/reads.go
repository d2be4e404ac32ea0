package data

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Reads lists what Open reads of a data set: single files, or a folder, whose files Part tells from others. Sets that lie in the cache are left out.
func Reads(spec string) (files []string, folder string) {
	name, dir, hasDir := strings.Cut(spec, ":")
	if _, ok := known[name]; !ok {
		dir = spec
	} else if !hasDir {
		return nil, ""
	}
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil, dir
	}
	return strings.Split(dir, ","), ""
}

// Part reports whether a file of a folder is part of a data set, by its name.
func Part(base string) bool {
	name := strings.TrimSuffix(strings.ToLower(base), ".gz")
	return strings.HasSuffix(name, "-ubyte") || slices.Contains([]string{".jpg", ".jpeg", ".png", ".bin"}, filepath.Ext(name)) || name == "batches.meta.txt" || name == "fine_label_names.txt"
}
