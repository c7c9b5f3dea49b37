// Package web is the demo: a chat in the browser, and the handler that serves it
// and gives tokens to everybody. The browser's files are embedded; `make web` builds the
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

// Prefix is the path below which everything here is served.
const Prefix = "/demo/"

//go:embed assets
var embedded embed.FS

// policy lets the page run only its own script and style and talk only to its own server:
// text that somebody writes in the chat can become neither script nor style.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// media has the media types, so that they do not depend on the system.
var media = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// asset is a served file.
type asset struct {
	content []byte
	media   string
	tag     string
}

// New makes the demo's handler. Requests must have their whole path, including Prefix.
// Anybody gets a token from sign, as often as the rates of limit.go allow.
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

// asAsked prevents the mux from redirecting a request for a path with ".." or "//" in it,
// because the server does not resolve paths.
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
	_, _ = w.Write(a.content) // an error here means that the client has gone
}
