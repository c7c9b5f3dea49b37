package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
)

// TestAnInterruptedUploadStoresNoLaterLine terminates the appender's backend during an upload. A client that
// sends again from the failed line must find nothing stored after it.
func TestAnInterruptedUploadStoresNoLaterLine(t *testing.T) {
	dsn := pgtest.Database(t)
	s := siteOf(t, ownersOf(openQueue(t, dsn)))
	killer, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer killer.Close(context.Background())
	kill := func() bool {
		var n int
		err := killer.QueryRow(t.Context(), `WITH appending AS MATERIALIZED (
		  SELECT pid FROM pg_stat_activity
		   WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid() AND query ~ 'FROM culvert[.](append|settle_offer)')
		  SELECT count(*) FROM appending WHERE pg_terminate_backend(pid)`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	interrupted := 0
	for round := range 20 {
		room := fmt.Sprint("r", round)
		var body strings.Builder
		for i := range 8000 {
			fmt.Fprintf(&body, `{"event":"e","room":%q,"data":%d}`+"\n", room, i)
		}
		start := s.h.queue.Head().Offset
		answered := make(chan []string, 1)
		go func() { answered <- s.upload(body.String()) }()
		apitest.Until(t, func() bool {
			return len(answered) > 0 || s.h.queue.Head().Offset > start+event.Offset(100*round) && kill()
		})
		results := <-answered
		stored := 0
		for i, line := range results {
			if strings.HasPrefix(line, `{"offset":`) {
				stored++
				continue
			}
			interrupted++
			if v := decode(t, line); v["type"] != "/problems/unavailable" || fmt.Sprint(v["line"]) != fmt.Sprint(i+1) || i != len(results)-1 {
				t.Fatalf("round %d: result %d of %d is %s", round, i+1, len(results), line)
			}
		}
		var got int
		if err := killer.QueryRow(t.Context(), `SELECT count(*) FROM culvert.events e JOIN culvert.rooms r ON r.id = e.room_id WHERE r.name = $1`, room).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != stored {
			t.Fatalf("round %d: %d lines are stored, %d were answered with an offset", round, got, stored)
		}
	}
	if interrupted < 5 {
		t.Errorf("only %d uploads were interrupted", interrupted)
	}
}

// flaky fails to publish volatile events, and stores all others.
type flaky struct {
	memory

	publishErr error
	stored     []string
}

func (f *flaky) PublishVolatile(context.Context, []event.Emit) error { return f.publishErr }

func (f *flaky) AppendEach(_ context.Context, emits []event.Emit) []event.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	results := make([]event.Result, len(emits))
	for i, e := range emits {
		f.stored = append(f.stored, e.Data.JSON())
		results[i].Cursor = event.Cursor{Log: memoryLog, Offset: event.Offset(i + 1)}
	}
	return results
}

// TestAVolatileLineThatFailsEndsAnUpload: the failed line gets its own answer, and no line after it is stored.
func TestAVolatileLineThatFailsEndsAnUpload(t *testing.T) {
	f := &flaky{publishErr: fmt.Errorf("publish: %w", event.ErrUnavailable)}
	s := siteOf(t, inMemory(f))
	results := s.upload(`{"event":"e","data":1}` + "\n" + `{"event":"v","volatile":true}` + "\n" + `{"event":"e","data":2}` + "\n")
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(results) != 2 || !strings.Contains(results[1], `"line":2`) || strings.Join(f.stored, " ") != "1" {
		t.Errorf("results %q, stored %q", results, f.stored)
	}
}

// TestAnAbandonedUploadIsNoError: a client that leaves is not logged, since an operator cannot do anything
// about it. The lines that an upload has begun to store are stored; a single emit is cancelled.
func TestAnAbandonedUploadIsNoError(t *testing.T) {
	var logged safeBuffer
	held, release := make(chan struct{}), make(chan struct{})
	m := &memory{}
	m.onAppend = func(ctx context.Context) {
		select {
		case held <- struct{}{}:
		case <-ctx.Done():
		}
		select {
		case <-release:
		case <-ctx.Done():
		}
		m.set(func() { m.appendErr = ctx.Err() })
	}
	s := siteOf(t, inMemory(m), func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	for _, media := range []string{wire.MediaLines, wire.MediaJSON} {
		conn := s.dial()
		fmt.Fprintf(conn, "POST /v1/default/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: 14\r\n\r\n{\"event\":\"e\"}\n", testKey, media)
		<-held
		_ = conn.Close()
		var want error
		if media == wire.MediaLines {
			select {
			case release <- struct{}{}:
			case <-time.After(10 * time.Second):
				t.Fatal("the lines being stored were cancelled with the upload")
			}
		} else {
			want = context.Canceled
		}
		apitest.Until(t, func() bool {
			s.h.sessions.mu.Lock()
			defer s.h.sessions.mu.Unlock()
			m.mu.Lock()
			defer m.mu.Unlock()
			return len(s.h.sessions.open) == 0 && errors.Is(m.appendErr, want)
		})
		m.set(func() { m.appendErr = nil })
	}
	s.server.Config.SetKeepAlivesEnabled(false)
	if text := logged.String(); text != "" {
		t.Errorf("logged %s", text)
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestTheLastWordOfAnUploadIsRead: a client sends all its lines before it reads the answer, which ended long
// before.
func TestTheLastWordOfAnUploadIsRead(t *testing.T) {
	s := siteOf(t, inMemory(&memory{appendErr: event.ErrOverloaded}))
	for range 20 {
		conn := s.dial()
		const size = 32 << 20
		_, err := fmt.Fprintf(conn, "POST /v1/default/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", testKey, wire.MediaLines, size)
		block := strings.Repeat(`{"event":"e"}  `+"\n", 1<<16)
		for range size / len(block) {
			if err == nil {
				_, err = io.WriteString(conn, block)
			}
		}
		if err != nil {
			t.Fatal("sending:", err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || strings.Count(string(b), "\n") != 1 || !strings.Contains(string(b), `"line":1`) {
			t.Fatalf("answer %q %v", b, err)
		}
		_ = conn.Close()
	}
}
