package server

import (
	"net/http"
	"strings"

	"github.com/metaprune/metaprune/wasm/api"
)

// policy lets the page load nothing from elsewhere; WebAssembly needs 'wasm-unsafe-eval'.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// withSite serves the page's files beside the API.
func withSite(h *api.Handler, folder string) http.Handler {
	if folder == "" {
		return h
	}
	files := compressed(http.Dir(folder), http.FileServer(http.Dir(folder)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.Has(r.URL.Path) || strings.HasPrefix(r.URL.Path, "/v1/") || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
			h.ServeHTTP(w, r)
			return
		}
		head := w.Header()
		head.Set("Content-Security-Policy", policy)
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Embedder-Policy", "require-corp")
		head.Set("Referrer-Policy", "no-referrer")
		files.ServeHTTP(w, r)
	})
}
