// Package web is the demo: a chat in the browser, and the handler that serves it
// and lets in whoever asks. What the browser gets is embedded; `make web` builds its
// script from src.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// Prefix is the path everything here is served below.
const Prefix = "/demo/"

//go:embed assets
var embedded embed.FS

// policy lets the page run its own script and style and talk to its own server,
// and nothing else: what somebody writes in the chat can become neither.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// media types are the same on every machine; what the system knows may differ.
var media = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// asset is a file as it is served.
type asset struct {
	content []byte
	media   string
	tag     string
}

// New makes the demo's handler. Its requests come with their whole path, Prefix
// included. Anybody gets a token from sign, as often as the rates of limit.go allow.
func New(sign Signer) (http.Handler, error) {
	assets, err := load()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	own := http.NewCrossOriginProtection()
	own.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "forbidden", "", "only the demo's own page may ask for a token")
	}))
	mux.Handle("POST "+Prefix+"token", own.Handler(limited(newLimiter(), issue(sign))))
	mux.HandleFunc("GET "+Prefix+"{file...}", func(w http.ResponseWriter, r *http.Request) {
		a, ok := assets[r.PathValue("file")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		a.serve(w, r)
	})
	return asAsked(mux), nil
}

// asAsked keeps the mux from sending who asks for a path with ".." or "//" in it to where
// that leads: the server resolves no paths.
func asAsked(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if clean := path.Clean(r.URL.Path); r.URL.Path != clean && r.URL.Path != clean+"/" {
			http.NotFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func load() (map[string]asset, error) {
	files, err := fs.Sub(embedded, "assets")
	if err != nil {
		return nil, err
	}
	assets := map[string]asset{}
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		sum := sha256.Sum256(content)
		assets[name] = asset{content, media[path.Ext(name)], `"` + hex.EncodeToString(sum[:12]) + `"`}
		return err
	})
	assets[""] = assets["index.html"]
	return assets, err
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.media)
	h.Set("ETag", a.tag)
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if strings.Contains(r.Header.Get("If-None-Match"), a.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(a.content) // an error here is a client that has gone
}
