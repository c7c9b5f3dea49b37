package culvert

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// page is the answer to a long poll.
type page struct {
	Events []json.RawMessage `json:"events"`
	Cursor string            `json:"cursor"`
	More   bool              `json:"more"`
	Gap    *Gap              `json:"gap"`
	Retry  float64           `json:"retry"` // seconds
}

// handleTime is how long the next poll waits for the handlers of the last page, to
// carry their acknowledgement.
const handleTime = 100 * time.Millisecond

// poll makes one long poll.
func (f *follower) poll(ctx context.Context, p plan) (ending, error) {
	got, err := f.askPage(ctx, p)
	if err != nil {
		return ending{}, err
	}
	f.watch.Stop()
	e := ending{kind: endPage, empty: len(got.Events) == 0, more: got.More, after: seconds(got.Retry)}
	f.worked(Poll)
	log, _, _ := strings.Cut(got.Cursor, ":")
	f.inbox.setLog(log)
	if got.Gap != nil {
		if err := f.skip(ctx, *got.Gap); err != nil {
			return e, err
		}
	}
	for _, raw := range got.Events {
		event, err := parseEvent(raw)
		if err != nil {
			return e, err
		}
		// The cursor of each event is made of the page's log and its own offset, so that each
		// can be acknowledged separately.
		if err := f.deliver(ctx, event, fmt.Sprintf("%s:%d", log, event.Offset)); err != nil {
			return e, err
		}
	}
	done := make(chan struct{})
	if err := f.reach(ctx, got.Cursor, done); err != nil {
		return e, err
	}
	if !e.empty {
		f.await(ctx, done)
	}
	return e, nil
}

// await waits a little until done is closed.
func (f *follower) await(ctx context.Context, done chan struct{}) {
	timer := time.NewTimer(handleTime)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-done:
	case <-timer.C:
	}
}

func (f *follower) askPage(ctx context.Context, p plan) (got page, err error) {
	query := url.Values{"wait": {strconv.FormatFloat(p.wait.Seconds(), 'f', -1, 64)}}
	if p.limit < fullPage {
		query.Set("limit", strconv.Itoa(p.limit))
	}
	resp, err := f.ask(ctx, "application/json", query)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	f.ladder.gotHeaders()
	f.watch.Reset(f.ladder.left())
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return got, err
	}
	if json.Unmarshal(body, &got) != nil || got.Cursor == "" {
		return got, foreign("it is not a page of events")
	}
	return got, nil
}
