package stress

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// seen is one event as a reader got it.
type seen struct {
	Offset int64
	Data   struct{ Name string }
}

const endMark = "the end"

type gap struct{ From, To string }

// reader reads the room by one transport, on random instances, and breaks off at
// random.
type reader struct {
	id        string
	sse       bool
	lazy      bool   // falls behind on purpose
	rooms     string // of an ad hoc subscription; empty: the client's own
	instances []*instance
	client    *http.Client

	position string // last cursor received
	stored   string // last cursor acknowledged
	events   []seen // each offset once, in the order of arrival
	byOffset map[int64]string
	newest   int64 // the highest offset of the events
	gaps     []gap
	repeats  int
	cuts     int
}

func newReader(n int, instances []*instance) *reader {
	return &reader{
		id: fmt.Sprintf("reader %d", n), rooms: "stress", sse: n%2 == 0, instances: instances, byOffset: map[int64]string{},
		client: &http.Client{Transport: &http.Transport{}},
	}
}

// run reads until the end mark.
func (r *reader) run(ctx context.Context) error {
	defer r.client.CloseIdleConnections()
	for ctx.Err() == nil {
		err := r.connection(ctx)
		var fault *readFault
		switch {
		case errors.Is(err, errEnd):
			return nil
		case errors.As(err, &fault):
			return fmt.Errorf("%s: %w", r.id, err)
		}
		r.cuts++
		pause := time.Duration(rand.IntN(60)) * time.Millisecond
		if r.lazy && r.position != "" { // without a position it would ask for the earliest event again, which causes no gap
			pause = 2500 * time.Millisecond
		}
		time.Sleep(pause)
	}
	return fmt.Errorf("%s: the end mark did not come; %d events so far, at %s", r.id, len(r.events), r.position)
}

var errEnd = errors.New("end")

// readFault is a broken promise, as opposed to a broken connection.
type readFault struct{ text string }

func (f *readFault) Error() string { return f.text }

func fault(format string, args ...any) error { return &readFault{fmt.Sprintf(format, args...)} }

// connection is one stream, or some polls, that ends at a random time.
func (r *reader) connection(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(200+rand.IntN(1500))*time.Millisecond)
	defer cancel()
	q := url.Values{"client": {r.id}}
	if r.rooms != "" {
		q.Set("rooms", r.rooms)
	}
	header := http.Header{"Authorization": {"Bearer " + apiKey}}
	switch {
	case r.stored != "" && rand.IntN(2) == 0:
		// Back to the stored cursor, as after a crash of the client.
		r.position = r.stored
	case r.position == "":
		q.Set("from", "earliest")
	case rand.IntN(2) == 0:
		header.Set("Last-Event-ID", r.position)
	default:
		q.Set("after", r.position)
	}
	base := r.instances[rand.IntN(len(r.instances))].url
	if r.sse {
		header.Set("Accept", "text/event-stream")
		return r.stream(ctx, base, q, header)
	}
	for {
		if err := r.poll(ctx, base, q, header); err != nil {
			return err
		}
		header.Del("Last-Event-ID")
		q.Del("from")
		q.Set("after", r.position)
		if rand.IntN(10) == 0 {
			return nil
		}
	}
}

func (r *reader) get(ctx context.Context, base string, q url.Values, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/events?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 400 && res.StatusCode < 500 {
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		return nil, fault("status %d: %s", res.StatusCode, text)
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	return res, nil
}

func (r *reader) poll(ctx context.Context, base string, q url.Values, header http.Header) error {
	q.Set("wait", "1")
	q.Set("limit", strconv.Itoa(1+rand.IntN(300)))
	res, err := r.get(ctx, base, q, header)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var page struct {
		Events []seen
		Cursor string
		Gap    *gap
	}
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
		return err
	}
	if page.Gap != nil {
		r.gaps = append(r.gaps, *page.Gap)
	}
	for _, e := range page.Events {
		if err := r.take(e); err != nil {
			return err
		}
	}
	r.position = page.Cursor
	return r.maybeAck(ctx, base)
}

func (r *reader) stream(ctx context.Context, base string, q url.Values, header http.Header) error {
	res, err := r.get(ctx, base, q, header)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var id, event, data string
	for lines := bufio.NewReader(res.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err // an incomplete frame is ignored
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			data = value
		case "":
			if err := r.frame(id, event, data); err != nil {
				return err
			}
			if event == "e" && rand.IntN(50) == 0 {
				if err := r.maybeAck(ctx, base); err != nil {
					return err
				}
			}
			event = ""
		}
	}
}

func (r *reader) frame(id, event, data string) error {
	switch event {
	case "e":
		var e seen
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fault("frame %q: %v", data, err)
		}
		r.position = id
		return r.take(e)
	case "culvert:gap":
		var g gap
		if err := json.Unmarshal([]byte(data), &g); err != nil {
			return fault("gap %q: %v", data, err)
		}
		r.gaps = append(r.gaps, g)
	case "culvert:heartbeat":
		r.position = id
	}
	return nil
}

// take compares an event with earlier ones: a repeat must be the same, a
// new one must have a higher offset. Events in a gap may still come to a reader that went
// back to its stored position, because another instance may have them in memory.
func (r *reader) take(e seen) error {
	if before, again := r.byOffset[e.Offset]; again {
		r.repeats++
		if before != e.Data.Name {
			return fault("offset %d was %q and now is %q", e.Offset, before, e.Data.Name)
		}
	} else {
		if e.Offset < r.newest && !r.explained(e.Offset) {
			return fault("offset %d (%s) came first after %d; at %s, gaps %v", e.Offset, e.Data.Name, r.newest, r.position, r.gaps)
		}
		r.newest = max(r.newest, e.Offset)
		r.byOffset[e.Offset] = e.Data.Name
		r.events = append(r.events, e)
	}
	if e.Data.Name == endMark {
		return errEnd
	}
	return nil
}

// maybeAck acknowledges the position at random times; a lost ack does not
// count.
func (r *reader) maybeAck(ctx context.Context, base string) error {
	if r.position == "" || rand.IntN(3) > 0 {
		return nil
	}
	position := r.position
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/ack?client="+url.QueryEscape(r.id),
		strings.NewReader(`{"cursor":"`+position+`"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusOK:
		r.stored = position
	case res.StatusCode < 500:
		return fault("ack of %s: status %d: %s", position, res.StatusCode, text)
	}
	return nil
}
