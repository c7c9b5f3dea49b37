package web

import (
	"encoding/json"
	"net/http"
)

// problem is how a request is refused (RFC 9457), of the kinds that the API has and
// explains at the type's address.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field,omitempty"`
}

func refuse(w http.ResponseWriter, status int, kind, field, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// An error here is a client that has gone.
	_ = json.NewEncoder(w).Encode(problem{"/problems/" + kind, http.StatusText(status), status, detail, field})
}
