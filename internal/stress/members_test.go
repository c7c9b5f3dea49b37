package stress

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// members is the number of additional readers that get the events of a room while
// they are in it; they join and leave at random.
const members = 4

// interval is a membership interval, by the positions with which the server answered.
type interval struct{ since, until int64 }

// move joins and leaves for the members until ctx ends. The result waits
// for that and returns the membership intervals of each.
func (s *scene) move(ctx context.Context) func() [members][]interval {
	var intervals [members][]interval
	var wg sync.WaitGroup
	for m := range members {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
			defer client.CloseIdleConnections()
			path := "/rooms/stress/clients/" + url.PathEscape(newReader(readers+m, nil).id)
			for ctx.Err() == nil {
				since, err := s.insist(client, http.MethodPut, path)
				if err != nil {
					s.t.Error(err)
					return
				}
				time.Sleep(time.Duration(rand.IntN(80)) * time.Millisecond)
				until, err := s.insist(client, http.MethodDelete, path)
				if err != nil {
					s.t.Error(err)
					return
				}
				intervals[m] = append(intervals[m], interval{since, until})
				time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
			}
		})
	}
	return func() [members][]interval {
		wg.Wait()
		return intervals
	}
}

// insist repeats a change of members until it is confirmed: a repeated change
// is answered with the position of the first.
func (s *scene) insist(client *http.Client, method, path string) (int64, error) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		status, text, err := s.change(client, method, path)
		switch {
		case err != nil, status == http.StatusServiceUnavailable:
			time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
		case status != http.StatusOK:
			return 0, fmt.Errorf("%s %s: status %d: %s", method, path, status, text)
		default:
			var answer struct{ Cursor string }
			err := json.Unmarshal(text, &answer)
			return offsetIn(answer.Cursor), err
		}
	}
	return 0, fmt.Errorf("%s %s: not confirmed within a minute", method, path)
}

func (s *scene) change(client *http.Client, method, path string) (int, []byte, error) {
	req, err := http.NewRequest(method, s.instances[rand.IntN(len(s.instances))].url+path, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, text, err
}

// compareMembers compares what each member got with its membership intervals: it must be exactly the
// events of these intervals.
func (s *scene) compareMembers(rs []*reader, intervals [members][]interval) {
	log := map[int64]string{}
	for _, r := range rs[:readers] {
		for _, e := range r.events {
			log[e.Offset] = e.Data.Name
		}
	}
	during, outside := 0, 0
	for m, r := range rs[readers:] {
		wrong := 0
		for offset, name := range log {
			if name == endMark {
				continue
			}
			in := false
			for _, st := range intervals[m] {
				in = in || st.since < offset && offset <= st.until
			}
			_, got := r.byOffset[offset]
			switch {
			case in:
				during++
			default:
				outside++
			}
			if in != got && (got || !r.explained(offset)) {
				if wrong++; wrong < 4 {
					s.t.Errorf("%s: %s at %d: a member then: %v; got it: %v", r.id, name, offset, in, got)
				}
			}
		}
	}
	s.t.Logf("members: %d events during an interval, %d outside", during, outside)
	if during < 100 || outside < 100 {
		s.t.Error("the members came and went too little for this to show anything")
	}
}
