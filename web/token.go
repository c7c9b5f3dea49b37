package web

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Signer makes a token for a client of the demo that is valid for so long.
type Signer func(client string, life time.Duration) (token string, err error)

const (
	longest  = 10 * time.Minute // life of a token
	shortest = 5 * time.Second
	maxBody  = 1 << 10
	maxName  = 24 // characters
)

// request asks for a token. The client is of both: two people may choose one name,
// and must not take each other's messages.
type request struct {
	Name   string `json:"name"`
	Device string `json:"device"`
	// TTL in seconds asks for a shorter life, to watch a token being renewed.
	TTL float64 `json:"ttl"`
}

var devices = regexp.MustCompile(`^[a-z0-9]{8,32}$`)

// client is who the token is for.
func (q *request) client() string { return q.Name + "#" + q.Device }

// fault says what is wrong with the request, and with which field; empty when nothing is.
func (q *request) fault() (field, detail string) {
	switch {
	case q.Name == "" || q.Name != strings.TrimSpace(q.Name) || utf8.RuneCountInString(q.Name) > maxName:
		return "name", "name must have 1 to 24 characters, without blanks around it"
	case strings.ContainsFunc(q.Name, func(r rune) bool { return r == '#' || r == utf8.RuneError || !unicode.IsPrint(r) }):
		return "name", "name must be of printable characters other than #"
	case strings.HasPrefix(q.Name, "@"):
		return "name", "name must not begin with @"
	case !devices.MatchString(q.Device):
		return "device", "device must be 8 to 32 lower-case letters and digits"
	case q.TTL < 0:
		return "ttl", "ttl must be seconds"
	}
	return "", ""
}

// life of the token that is asked for.
func (q *request) life() time.Duration {
	if q.TTL == 0 || q.TTL > longest.Seconds() {
		return longest
	}
	return max(time.Duration(q.TTL*float64(time.Second)), shortest)
}

// issue gives a token to anybody.
func issue(sign Signer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
			refuse(w, http.StatusUnsupportedMediaType, "unsupported-media-type", "", "want Content-Type: application/json")
			return
		}
		var q request
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil || json.Unmarshal(body, &q) != nil {
			refuse(w, http.StatusBadRequest, "malformed", "", `want {"name":"…","device":"…"}`)
			return
		}
		if field, fault := q.fault(); fault != "" {
			refuse(w, http.StatusUnprocessableEntity, "invalid", field, fault)
			return
		}
		token, err := sign(q.client(), q.life())
		if err != nil {
			refuse(w, http.StatusInternalServerError, "internal", "", "no token could be made")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"token": token, "client": q.client()}) // an error here is a client that has gone
	}
}
