package culvert

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options say who a client is and how it behaves. A token is all most need.
type Options struct {
	// Token is a JWT or an API key.
	Token string
	// TokenFunc gets one instead. It is called again before a JWT expires and when
	// the server refuses one, by one goroutine at a time. It may take 30 s and must
	// return when its context ends; an error or an empty string is told, and it is
	// called again later.
	TokenFunc func(ctx context.Context) (string, error)
	// Namespace; empty: default.
	Namespace string
	// Client is whom an API key acts for. A JWT says that itself.
	Client string

	// Rooms are followed instead of the client's own, * and those it joined.
	// The server stores nothing then, and nothing is acknowledged.
	Rooms []string
	// After is a cursor to begin after; empty: where the client's stored one is.
	After string
	// Earliest begins at the oldest event there is, unless After is given.
	Earliest bool
	// NoAck acknowledges nothing: every Listen of another process gets it again.
	NoAck bool
	// Transport insists on one; Auto finds the best that works.
	Transport Transport

	// RetryFor is how long a call (all but Listen) is tried again when the server
	// cannot be reached or cannot answer; 0: until its context ends; negative: not.
	RetryFor time.Duration
	// GiveUp, if given, reports errors that are not worth another try, beside the
	// server's refusals, which never are. A phone waits until a café's login page
	// is gone; a person at a terminal mistyped the address.
	GiveUp func(err error) bool
	// HTTP, if given, makes the requests. It must have no Timeout.
	HTTP *http.Client

	// These are told what happens, if given. They must return soon.

	// OnConnect: events come now, by another way than before or after a loss.
	OnConnect func(t Transport)
	// OnLost: a connection was lost, or could not be made; Listen goes on trying.
	OnLost func(err error)
	// OnRetry: a call failed for the first time and is tried again.
	OnRetry func(err error)
	// OnGap: events are gone. It is called in its place among the events.
	OnGap func(g Gap)
	// OnError: a handler failed, or an acknowledgement or reply was refused.
	OnError func(err error)
}

// Gap tells that the events after From up to To are gone.
type Gap struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Reason is "pruned" when retention passed them, "log" when the server has
	// another log now.
	Reason string `json:"reason"`
}

// withDefaults checks the options and fills in what is missing. Callers may then
// call every function.
func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Token != "" && o.TokenFunc != nil:
		return o, fmt.Errorf("options: Token and TokenFunc exclude one another")
	case o.Transport != Auto && o.Transport != Stream && o.Transport != Poll:
		return o, fmt.Errorf("options: no Transport is called %q", o.Transport)
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if isDots(o.Namespace) {
		return o, fmt.Errorf("options: Namespace %q: %w", o.Namespace, ErrName)
	}
	if isDots(o.Client) {
		return o, fmt.Errorf("options: Client %q: %w", o.Client, ErrName)
	}
	o.NoAck = o.NoAck || len(o.Rooms) > 0
	if o.GiveUp == nil {
		o.GiveUp = func(error) bool { return false }
	}
	if o.OnConnect == nil {
		o.OnConnect = func(Transport) {}
	}
	for _, f := range []*func(error){&o.OnLost, &o.OnRetry, &o.OnError} {
		if *f == nil {
			*f = func(error) {}
		}
	}
	if o.OnGap == nil {
		o.OnGap = func(Gap) {}
	}
	return o, nil
}

// parseBase returns the URL of the namespace and the origin of the server.
func parseBase(address, namespace string) (base, origin string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) { // its text holds the address, and perhaps a password
			err = parse.Err
		}
		return "", "", fmt.Errorf("url: it is not like https://culvert.example: %w", err)
	}
	if u.Scheme == "ws" || u.Scheme == "wss" {
		return "", "", fmt.Errorf("url: %s is not spoken here: write http%s", u.Scheme, strings.TrimPrefix(u.Scheme, "ws"))
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", "", fmt.Errorf("url: it is not like https://culvert.example, with http or https and a host")
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(address, "#") {
		return "", "", fmt.Errorf("url: it must hold neither credentials nor a query or fragment")
	}
	return strings.TrimRight(address, "/") + "/v1/" + url.PathEscape(namespace), u.Scheme + "://" + u.Host, nil
}
