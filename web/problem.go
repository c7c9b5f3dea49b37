package web

import (
	"encoding/json"
	"net/http"
)

// problem is the body of a refusal (RFC 9457). The API uses the same types and
// explains them at the type's path.
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
	// An error here means that the client has gone.
	_ = json.NewEncoder(w).Encode(problem{"/problems/" + kind, http.StatusText(status), status, detail, field})
}
