package abuse

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// follower is a victim that emits from SQL, and waits until its open stream has the event: this
// instance has to read it from the log.
func (r *rig) follower(namespace string) *victim {
	frames := r.frames(namespace, "victim")
	session := r.connect()
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

// frames are the lines of a client's stream, which ends with the test.
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

// upload sends lines for as long as it may, as fast as they are taken.
func (r *rig) upload(ctx context.Context, token, path string, lines []byte) {
	body, in := io.Pipe()
	go func() {
		defer in.Close()
		for ctx.Err() == nil {
			if _, err := in.Write(lines); err != nil {
				return
			}
		}
	}()
	defer body.Close()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url+path, body)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := r.http.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
}

// An API key uploads without end, each line to 100 rooms. What others emit from SQL meanwhile is
// read from the log, and this instance's own events are not read with it: once they were, and the
// victim waited for over 5 s.
func TestUploadsToManyRooms(t *testing.T) {
	s := newScene(t, func(r *rig) *victim { return r.follower("victim") })
	lines := []byte(strings.Repeat(fmt.Sprintf(`{"rooms":[%s],"event":"e","data":1}`+"\n", list(100)), 50))
	s.under(t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(pick(8, 30))*time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() { s.upload(ctx, apiKey, "/v1/attacker/emit", lines) })
		}
		all.Wait()
	})
}
