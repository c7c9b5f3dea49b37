package stress

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestRepliesSurviveTheirEmitter kills instances between emit and reply: every
// confirmed reply is in its emitter's room, once and in order,
// and an emit that waited on an instance that was not killed returned it.
func TestRepliesSurviveTheirEmitter(t *testing.T) {
	s := newScene(t, 9*time.Second)
	ctx, stop := context.WithTimeout(t.Context(), s.duration)
	defer stop()
	client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	confirmed := map[int64]int64{} // data of the reply by the event it answers
	var work sync.WaitGroup
	for w := range 8 {
		work.Go(func() {
			for n := int64(w); ctx.Err() == nil; n += 8 {
				body := fmt.Sprintf(`{"room":"q","event":"q","key":"ask %d","reply":{"count":1,"timeout":600}}`, n)
				to, err := confirm(client, body, s.instances, "/emit?client=asker")
				if err != nil {
					t.Error(err)
					return
				}
				waiter := make(chan string, 1)
				if n%16 == 0 { // because of its key, the repeat waits for the same ask
					go func() { waiter <- s.waitFor(client, body) }()
				}
				if rand.IntN(2) == 0 {
					time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond) // time for a fault
				}
				if _, err := confirm(client, fmt.Sprintf(`{"offset":%d,"data":%d}`, to.Offset, n), s.instances, "/reply?client=answerer"); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				confirmed[to.Offset] = n
				mu.Unlock()
				if n%16 != 0 {
					continue
				}
				if got, want := <-waiter, fmt.Sprintf(`[{"from":"answerer","data":%d}]`, n); got != want {
					t.Errorf("the waiting emit got %s, want %s", got, want)
				}
			}
		})
	}
	s.killEvery(700 * time.Millisecond)(func(d time.Duration) bool {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		return ctx.Err() == nil
	})
	work.Wait()
	s.awaitMoved()
	found := s.repliesTo("asker")
	for to, n := range confirmed {
		if got, ok := found[to]; !ok || got != n {
			t.Errorf("the reply %d to %d is not in the emitter's room: %d", n, to, got)
		}
	}
	t.Logf("%d asks were answered", len(confirmed))
	if len(confirmed) < atLeast(100) {
		t.Error("too little happened for this to show anything")
	}
}

// waitFor repeats an emit, on any instance, until the answer has replies.
func (s *scene) waitFor(client *http.Client, body string) string {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		status, text, err := post(client, s.instances[rand.IntN(2)].url+"/emit?client=asker&wait=20", body)
		if err != nil || status == http.StatusServiceUnavailable {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		var v struct {
			Replies  json.RawMessage
			Complete bool
		}
		if err := json.Unmarshal(text, &v); err != nil || !v.Complete {
			return string(text)
		}
		return string(v.Replies)
	}
	return "nothing within a minute"
}

// repliesTo reads the culvert:reply events of a client from the history of its room.
func (s *scene) repliesTo(client string) map[int64]int64 {
	s.t.Helper()
	found := map[int64]int64{}
	last := int64(0)
	web := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	defer web.CloseIdleConnections()
	for after := ""; ; {
		req, err := http.NewRequest(http.MethodGet, s.instances[0].url+"/rooms/@"+client+"/events?limit=1000"+after, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+apiKey)
		res, err := web.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		var p struct {
			Events []struct {
				Offset int64
				Event  string
				Data   struct{ To, Data int64 }
			}
			Cursor string
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || json.Unmarshal(text, &p) != nil {
			s.t.Fatalf("%v in %s", err, text)
		}
		for _, e := range p.Events {
			if _, twice := found[e.Data.To]; twice || e.Event != "culvert:reply" || e.Offset <= last {
				s.t.Errorf("unexpected %+v after %d", e, last)
			}
			found[e.Data.To], last = e.Data.Data, e.Offset
		}
		if len(p.Events) < 1000 {
			return found
		}
		after = "&after=" + p.Cursor
	}
}
