package server

import (
	"mime"
	"net/http"
	"path"
	"strings"
)

// compressed serves NAME.gz of a folder in place of NAME, where both are there and the client takes gzip.
func compressed(folder http.Dir, plain http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Clean("/" + r.URL.Path)
		if strings.HasSuffix(r.URL.Path, "/") || !exists(folder, name) || !exists(folder, name+".gz") {
			plain.ServeHTTP(w, r)
			return
		}
		w.Header().Add("Vary", "Accept-Encoding")
		if !takesGzip(r.Header.Values("Accept-Encoding")) {
			plain.ServeHTTP(w, r)
			return
		}
		file, err := folder.Open(name + ".gz")
		if err != nil {
			plain.ServeHTTP(w, r)
			return
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			plain.ServeHTTP(w, r)
			return
		}
		kind := mime.TypeByExtension(path.Ext(name))
		if kind == "" {
			kind = "application/octet-stream"
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Content-Encoding", "gzip")
		http.ServeContent(w, r, name, info.ModTime(), file)
	})
}

// exists reports whether the folder has a file, and no folder, of that name.
func exists(folder http.Dir, name string) bool {
	file, err := folder.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	info, err := file.Stat()
	return err == nil && info.Mode().IsRegular()
}

// takesGzip reads the values of Accept-Encoding (RFC 9110, 12.5.3): gzip or * is named, and not with q=0.
func takesGzip(values []string) bool {
	takes := false
	for _, entry := range strings.Split(strings.Join(values, ","), ",") {
		coding, weight, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(entry), " ", ""), ";")
		refused := strings.HasPrefix(weight, "q=0") && strings.Trim(weight, "q=0.") == ""
		switch coding {
		case "gzip":
			return !refused
		case "*":
			takes = !refused
		}
	}
	return takes
}
