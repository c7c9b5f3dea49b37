package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// pollPatience bounds one long poll: the longest a server holds one, and the way.
	pollPatience = 65 * time.Second
	// pollSpacing keeps a server that answers at once from being asked at once.
	pollSpacing = 500 * time.Millisecond
	pollLimit   = 100
)

// page is the answer to a long poll.
type page struct {
	Events []json.RawMessage `json:"events"`
	Cursor string            `json:"cursor"`
	More   bool              `json:"more"`
	Gap    *gap              `json:"gap"`
	Retry  float64           `json:"retry"` // seconds
}

// pollOnce makes one long poll. It returns nil when the next one may follow at once.
func (l *follower) pollOnce(parent context.Context) error {
	ctx, cancel := context.WithTimeoutCause(parent, pollPatience, errSilence)
	defer cancel()
	began := time.Now()
	got, err := l.askPage(ctx)
	if err != nil {
		if errors.Is(context.Cause(ctx), errSilence) {
			return errSilence
		}
		return err
	}
	l.alive()
	if got.Gap != nil {
		l.report(*got.Gap)
	}
	if err := l.deliverPage(got); err != nil {
		return err
	}
	l.cursor = got.Cursor
	if got.Retry > 0 {
		return &comeBack{"busy", min(time.Duration(got.Retry*float64(time.Second)), maxRetryAfter)}
	}
	if len(got.Events) == 0 && !got.More {
		pause(parent, pollSpacing-time.Since(began))
	}
	return nil
}

func (l *follower) askPage(ctx context.Context) (got page, err error) {
	query := l.query()
	if l.cursor != "" {
		query.Set("after", l.cursor)
	}
	if l.left > 0 {
		query.Set("limit", strconv.Itoa(min(l.left, pollLimit)))
	}
	req, err := l.client.newRequest(ctx, http.MethodGet, "/events", query, nil)
	if err != nil {
		return got, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := l.client.do(req)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&got)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &kind) || err == nil && got.Cursor == "" {
		return got, responsef("it is not a page of events")
	}
	return got, err
}

// deliverPage delivers the events of a page. Each one's cursor is made of the
// page's log and its own offset, so that it can be acknowledged by itself.
func (l *follower) deliverPage(got page) error {
	log, _, _ := strings.Cut(got.Cursor, ":")
	for _, raw := range got.Events {
		var e event
		if err := json.Unmarshal(raw, &e); err != nil {
			return responsef("an event in it is not as expected: %v", err)
		}
		if err := l.deliver(raw, fmt.Sprintf("%s:%d", log, e.Offset)); err != nil {
			return err
		}
	}
	return nil
}
