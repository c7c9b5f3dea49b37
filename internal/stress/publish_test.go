package stress

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// fate is what a publisher knows about the outcome of an event.
type fate int

const (
	stored   fate = iota // confirmed: every reader must see it once
	unstored             // rolled back: nobody may see it
	unknown              // the connection broke during the commit
)

// ledger is what all publishers know.
type ledger struct {
	mu    sync.Mutex
	fates map[string]fate
	order map[int][]string // confirmed names of each publisher, in order
	errs  []error
	again int // repeats that were recognised
}

func newLedger() *ledger { return &ledger{fates: map[string]fate{}, order: map[int][]string{}} }

func (l *ledger) note(publisher int, f fate, names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range names {
		l.fates[n] = f
		if f == stored {
			l.order[publisher] = append(l.order[publisher], n)
		}
	}
}

func (l *ledger) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

// publishHTTP emits one event after the other, each with a key, and repeats each
// until it is confirmed; some are repeated after that.
func publishHTTP(ctx context.Context, l *ledger, publisher int, instances []*instance) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		id := name(publisher, n)
		body := fmt.Sprintf(`{"room":"stress","event":"e","data":{"name":%q},"key":"http %s"}`, id, id)
		first, err := confirm(client, body, instances, "/emit")
		if err != nil {
			l.fail(fmt.Errorf("%s: %w", id, err))
			return
		}
		l.note(publisher, stored, id)
		if rand.IntN(10) > 0 {
			continue
		}
		again, err := confirm(client, body, instances, "/emit")
		if err != nil || again.Offset != first.Offset || !again.Duplicate {
			l.fail(fmt.Errorf("%s repeated: %+v after %+v, %w", id, again, first, err))
		}
		l.mu.Lock()
		l.again++
		l.mu.Unlock()
	}
}

type confirmation struct {
	Offset    int64
	Cursor    string
	Duplicate bool
}

// confirm posts until the answer is a 2xx. Refused and cut connections and
// 503 are expected during faults; any other answer is an error.
func confirm(client *http.Client, body string, instances []*instance, path string) (c confirmation, err error) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		status, text, err := post(client, instances[rand.IntN(len(instances))].url+path, body)
		switch {
		case err != nil, status == http.StatusServiceUnavailable:
			time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
		case status == http.StatusCreated, status == http.StatusOK:
			return c, json.Unmarshal(text, &c)
		default:
			return c, fmt.Errorf("status %d: %s", status, text)
		}
	}
	return c, fmt.Errorf("the emit was not confirmed within a minute")
}

func post(client *http.Client, url, body string) (int, []byte, error) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, text, err
}

// publishSQL emits in transactions that are held open for random times and
// rolled back at random.
func publishSQL(ctx context.Context, l *ledger, publisher int, dsn string) {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close(context.Background())
		}
	}()
	for n := 0; ctx.Err() == nil; {
		if conn == nil || conn.IsClosed() {
			var err error
			if conn, err = pgx.Connect(context.Background(), dsn); err != nil {
				conn = nil
				time.Sleep(50 * time.Millisecond)
				continue
			}
		}
		var names []string
		for range 1 + rand.IntN(3) {
			names = append(names, name(publisher, n))
			n++
		}
		transact(l, publisher, conn, names)
	}
}

func transact(l *ledger, publisher int, conn *pgx.Conn, names []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tx, err := conn.Begin(ctx)
	if err != nil {
		l.note(publisher, unstored, names...)
		return
	}
	for _, id := range names {
		var key *string
		if rand.IntN(2) == 0 {
			key = new(string)
			*key = "sql " + id
		}
		_, err = tx.Exec(ctx, `SELECT culvert.emit(room => 'stress', event => 'e', data => jsonb_build_object('name', $1::text), key => $2)`, id, key)
		if err != nil {
			_ = tx.Rollback(ctx)
			l.note(publisher, unstored, names...)
			return
		}
	}
	hold := time.Duration(rand.IntN(30)) * time.Millisecond
	if rand.IntN(30) == 0 {
		hold = 700 * time.Millisecond
	}
	time.Sleep(hold)
	if rand.IntN(3) == 0 {
		_ = tx.Rollback(ctx)
		l.note(publisher, unstored, names...)
		return
	}
	if err := tx.Commit(ctx); err != nil {
		l.note(publisher, unknown, names...)
		return
	}
	l.note(publisher, stored, names...)
}
