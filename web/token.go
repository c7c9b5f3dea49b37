package web

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Signer makes a token for a client of the demo; life is how long it is valid.
type Signer func(client string, life time.Duration) (token string, err error)

const (
	longest  = 10 * time.Minute // life of a token
	shortest = 5 * time.Second
	maxBody  = 1 << 10
	maxName  = 24 // characters
)

// request asks for a token. Two people may choose the same name, and must not receive or
// send each other's messages: so the client's name is made from the chosen name and the secret.
type request struct {
	Name string `json:"name"`
	// Secret is known only to the browser. Others see only a digest of it.
	Secret string `json:"secret"`
	// TTL in seconds asks for a shorter life, to watch a token being renewed.
	TTL float64 `json:"ttl"`
}

var secrets = regexp.MustCompile(`^[a-z0-9]{20,64}$`)

// client returns the client that the token is for. Everybody sees it in messages, so knowing it
// must not be enough to get a token.
func (q *request) client() string {
	sum := sha256.Sum256([]byte("culvert demo " + q.Secret))
	return q.Name + "#" + hex.EncodeToString(sum[:8])
}

// read reads a request's JSON. Names of fields are exact, so that no two programs
// read the same request differently.
func (q *request) read(body []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return err
	}
	for name, value := range members {
		to, known := map[string]any{"name": &q.Name, "secret": &q.Secret, "ttl": &q.TTL}[name]
		if !known {
			return errors.New("unknown field " + name)
		}
		if err := json.Unmarshal(value, to); err != nil {
			return err
		}
	}
	return nil
}

// fault returns the wrong field of the request and what is wrong with it; empty if nothing is.
func (q *request) fault() (field, detail string) {
	switch {
	case q.Name == "" || q.Name != strings.TrimSpace(q.Name) || utf8.RuneCountInString(q.Name) > maxName:
		return "name", "name must have 1 to 24 characters, without blanks around it"
	case strings.ContainsFunc(q.Name, func(r rune) bool { return r == '#' || r == utf8.RuneError || !unicode.IsPrint(r) }):
		return "name", "name must be of printable characters other than #"
	case strings.HasPrefix(q.Name, "@"):
		return "name", "name must not begin with @"
	case !secrets.MatchString(q.Secret):
		return "secret", "secret must be 20 to 64 lower-case letters and digits, made at random and kept in the browser"
	case q.TTL < 0:
		return "ttl", "ttl must be seconds"
	}
	return "", ""
}

// life returns the life of the requested token.
func (q *request) life() time.Duration {
	if q.TTL == 0 || q.TTL > longest.Seconds() {
		return longest
	}
	return max(time.Duration(q.TTL*float64(time.Second)), shortest)
}

// issue gives a token to everybody.
func issue(sign Signer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
			refuse(w, http.StatusUnsupportedMediaType, "unsupported-media-type", "", "want Content-Type: application/json")
			return
		}
		var q request
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil || q.read(body) != nil {
			refuse(w, http.StatusBadRequest, "malformed", "", `want {"name":"…","secret":"…"}`)
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
		_ = json.NewEncoder(w).Encode(map[string]string{"token": token, "client": q.client()}) // an error here means that the client has gone
	}
}
