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

// Options say who a client is and how it behaves. Most clients need only a token.
type Options struct {
	// Token is a JWT or an API key.
	Token string
	// TokenFunc gets a token instead. It is called again before a JWT expires and when
	// the server refuses one, by one goroutine at a time. It may take 30 s and must
	// return when its context ends. An error or an empty string is reported, and it is
	// called again later.
	TokenFunc func(ctx context.Context) (string, error)
	// Namespace is the namespace; empty: default.
	Namespace string
	// Client is the client for which an API key acts. A JWT names its client itself.
	Client string

	// Rooms are received instead of the client's own room, * and the rooms it joined.
	// The server then stores nothing, and nothing is acknowledged.
	Rooms []string
	// After is a cursor to begin after; empty: begin after the client's stored cursor.
	After string
	// Earliest begins at the oldest stored event, unless After is given.
	Earliest bool
	// NoAck acknowledges nothing: a Listen of another process gets all events again.
	NoAck bool
	// Transport is the transport to insist on; Auto finds the best that works.
	Transport Transport

	// RetryFor is how long a call (other than Listen) is repeated while the server
	// cannot be reached or cannot answer; 0: until its context ends; negative: it is not repeated.
	RetryFor time.Duration
	// GiveUp, if given, reports errors after which the client gives up, in addition to the
	// server's refusals. An example is a login page in place of the server: a phone
	// waits until it is gone, but a person at a terminal has mistyped the address.
	GiveUp func(err error) bool
	// HTTP, if given, makes the requests. It must have no Timeout.
	HTTP *http.Client

	// The following functions, if given, are called when something happens. They must return soon.

	// OnConnect: events can come now, after a loss or by another transport than before.
	OnConnect func(t Transport)
	// OnLost: a connection was lost, or could not be made; Listen keeps trying.
	OnLost func(err error)
	// OnRetry: a call failed for the first time and is tried again.
	OnRetry func(err error)
	// OnGap: events are lost. It is called at its place among the events.
	OnGap func(g Gap)
	// OnError: a handler failed, or an acknowledgement or reply was refused.
	OnError func(err error)
}

// Transport is a way in which events come.
type Transport string

// The transports. Auto finds the best one that works; the others insist on one.
const (
	Auto   Transport = ""
	Stream Transport = "stream"
	Poll   Transport = "poll"
)

// Gap says that the events after From up to To are lost.
type Gap struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Reason is "pruned", "log", "rewound" or "unreadable": see docs/protocol.md.
	Reason string `json:"reason"`
}

// withDefaults checks the options and fills in what is missing. Callers may then
// call every function.
func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Token != "" && o.TokenFunc != nil:
		return o, fmt.Errorf("options: Token and TokenFunc are mutually exclusive")
	case o.Transport != Auto && o.Transport != Stream && o.Transport != Poll:
		return o, fmt.Errorf("options: unknown Transport %q", o.Transport)
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
		if errors.As(err, &parse) { // its text contains the address, and maybe a password
			err = parse.Err
		}
		return "", "", fmt.Errorf("url: it is not like https://culvert.example: %w", err)
	}
	if u.Scheme == "ws" || u.Scheme == "wss" {
		return "", "", fmt.Errorf("url: scheme %s is not supported: use http%s", u.Scheme, strings.TrimPrefix(u.Scheme, "ws"))
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", "", fmt.Errorf("url: it is not like https://culvert.example, with http or https and a host")
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(address, "#") {
		return "", "", fmt.Errorf("url: it must hold neither credentials nor a query or fragment")
	}
	return strings.TrimRight(address, "/") + "/v1/" + url.PathEscape(namespace), u.Scheme + "://" + u.Host, nil
}

// isDots reports whether a name would be a step in the path of a URL, see ErrName.
func isDots(name string) bool { return name == "." || name == ".." }
