package abuse

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// sqlReader is a victim that emits from SQL and waits until the event comes on its open stream: the
// instance must read the event from the log.
func (r *rig) sqlReader(namespace string) *victim {
	session, frames := r.connect(), r.frames(namespace, "victim")
	n := 0
	return &victim{name: "delivery of an event from SQL", do: func(ctx context.Context) error {
		n++
		mark := fmt.Sprint("mark-", n)
		_, err := session.Exec(ctx, `SELECT culvert.emit(namespace => $1, room => '@victim', event => 'e', data => to_jsonb($2::text))`, namespace, mark)
		if err != nil {
			return err
		}
		for {
			select {
			case line, open := <-frames:
				if !open {
					return fmt.Errorf("the stream ended before %s", mark)
				}
				if strings.Contains(line, `"`+mark+`"`) {
					return nil
				}
			case <-ctx.Done():
				return fmt.Errorf("%s did not come: %w", mark, ctx.Err())
			}
		}
	}}
}

// frames returns the lines of a client's stream, which ends with the test.
func (r *rig) frames(namespace, client string) <-chan string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+"/v1/"+namespace+"/events", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token(namespace, client))
	req.Header.Set("Accept", "text/event-stream")
	res, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = res.Body.Close() })
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(res.Body); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

// upload sends lines with an API key, and returns how many of them were stored.
func (r *rig) upload(url string, lines []byte) (stored int) {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, url, bytes.NewReader(lines))
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := r.http.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		if strings.Contains(s.Text(), `"offset"`) {
			stored++
		}
	}
	return stored
}

// uploads makes 16 uploads at once, each line to 100 rooms, and returns when all lines are stored.
func (r *rig) uploads(url string, lines int) {
	line := fmt.Sprintf(`{"rooms":[%s],"event":"e","data":1}`+"\n", list(100))
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for left, end := lines, time.Now().Add(2*patience); left > 0; { // when the queue is full, the rest is sent again
				left -= r.upload(url, []byte(strings.Repeat(line, left)))
				if time.Now().After(end) {
					r.t.Errorf("%d of %d lines of an upload were not stored", left, lines)
					return
				}
			}
		})
	}
	all.Wait()
}

// An API key uploads without a pause. Events that others emit from SQL meanwhile are read from the log
// without the instance's own events. When these were read as well, the victim waited for 10 s.
func TestUploadsToManyRooms(t *testing.T) {
	s := newScene(t, func(r *rig) *victim { return r.sqlReader("victim") })
	s.under(t, func() { s.uploads(s.url+"/v1/attacker/emit", pick(100, 3000)) })
}
