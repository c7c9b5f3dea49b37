package reach

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	count   = 200                    // events in each direction
	pace    = 25 * time.Millisecond  // between two events
	silence = 7 * time.Second        // after half of them
	limit   = 150 * time.Second      // for the whole test of a path
	page    = "https://app.example/" // a page of another origin than all servers here
)

// report is what the client reports, a part in each line.
type report struct {
	First      *int      `json:"first,omitempty"` // ms from connect to the first event
	Received   []int     `json:"received,omitempty"`
	Delays     []int     `json:"delays,omitempty"`     // ms from emit to handler
	Transports []string  `json:"transports,omitempty"` // with "lost" in between
	Asked      int       `json:"asked,omitempty"`      // requests to receive
	Waits      []float64 `json:"waits,omitempty"`      // s that polls asked for, each once
	Refused    []int     `json:"refused,omitempty"`    // statuses of other answers than a 200
	Errors     []string  `json:"errors,omitempty"`
}

// result is the result on one path.
type result struct {
	report
	Up []int
}

// travel tests one path: a known client connects while an event waits for
// it; then half of the events go in each direction, then silence, then the
// other half.
func (s *scene) travel(t *testing.T, p path, by traveller) result {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	id := fmt.Sprintf("traveller-%d", s.turn.Add(1))
	backend := newBackend(t, s)
	backend.get(ctx, "/events?wait=0&client="+id, &struct{}{})
	backend.emit(ctx, id, 0)

	entrance := p.open(s, t)
	quiet := cmp.Or(p.silence, silence)
	o := orders{
		URL: "http://" + entrance.address, Token: token(t, id), Room: "up-" + id,
		Count: count, Pace: pace.Milliseconds(), Silence: quiet.Milliseconds(),
		Transport: p.use, Forward: entrance.forward,
	}
	if p.page {
		o.Page = page
	}
	r := result{report: follow(ctx, t, by, o, func() {
		for n := 1; n < count; n++ {
			if n == count/2 {
				rest(ctx, quiet)
			}
			backend.emit(ctx, id, n)
			rest(ctx, pace)
		}
	})}
	r.Up = backend.history(ctx, "up-"+id)
	inOrder(t, "to the client", r.Received)
	inOrder(t, "from the client", r.Up)
	for _, e := range r.Errors {
		t.Errorf("the client raised an error: %s", e)
	}
	if p.proof != nil {
		p.proof(t, r)
	}
	return r
}

// follow runs the client to its end. At the client's first event it calls goOn.
func follow(ctx context.Context, t *testing.T, by traveller, o orders, goOn func()) (all report) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	said := &watch{}
	process := by(ctx, string(text))
	process.Stderr = said
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	started := false
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &all); err != nil {
			t.Errorf("the client said %q", lines.Text())
		}
		if all.First != nil && !started {
			started = true
			go func() { defer close(gone); goOn() }()
		}
	}
	if started {
		<-gone
	}
	if err := process.Wait(); err != nil {
		t.Errorf("the client ended with %v, within its time: %v; it said:\n%s", err, ctx.Err() == nil, said)
	}
	if all.First == nil {
		t.Fatalf("no event came; the client said:\n%s", said)
	}
	return all
}

// inOrder fails unless got has all numbers, once and in order.
func inOrder(t *testing.T, way string, got []int) {
	t.Helper()
	for n := range max(count, len(got)) {
		if n < len(got) && n < count && got[n] == n {
			continue
		}
		t.Errorf("%s: %d events, and number %d is not what comes next: …%v", way, len(got), n, got[max(0, min(n, len(got))-3):min(n+3, len(got))])
		return
	}
}

// rest waits for d, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func token(t *testing.T, id string) string {
	t.Helper()
	now := time.Now()
	claims := jwt.MapClaims{"sub": id, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "emit": []string{"up-*"}}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(jwtSecret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// backend makes requests to the instances without a proxy.
type backend struct {
	t    *testing.T
	s    *scene
	http *http.Client
}

func newBackend(t *testing.T, s *scene) *backend {
	b := &backend{t, s, &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}}
	t.Cleanup(b.http.CloseIdleConnections)
	return b
}

func (b *backend) emit(ctx context.Context, client string, n int) {
	body := fmt.Sprintf(`{"room":"@%s","event":"down","data":{"n":%d,"at":%d}}`, client, n, time.Now().UnixMilli())
	b.do(ctx, http.MethodPost, "/emit", body, &struct{}{})
}

func (b *backend) get(ctx context.Context, path string, to any) {
	b.do(ctx, http.MethodGet, path, "", to)
}

// history returns the data of all events of a room, in the order of the log.
func (b *backend) history(ctx context.Context, room string) []int {
	var all struct{ Events []struct{ Data int } }
	b.get(ctx, "/rooms/"+room+"/events?limit=1000", &all)
	numbers := slices.Grow([]int(nil), len(all.Events))
	for _, e := range all.Events {
		numbers = append(numbers, e.Data)
	}
	return numbers
}

func (b *backend) do(ctx context.Context, method, path, body string, to any) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+b.s.next()+"/v1/default"+path, bytes.NewBufferString(body))
	if err != nil {
		b.t.Error(err)
		return
	}
	r.Header.Set("Authorization", "Bearer "+apiKey)
	r.Header.Set("Content-Type", "application/json")
	answer, err := b.http.Do(r)
	if err != nil {
		b.t.Error(err)
		return
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		b.t.Errorf("%s %s: %v", method, path, err)
	}
}
