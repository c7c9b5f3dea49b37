package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/event"
)

func TestHeartbeatComesAfterSilenceOnly(t *testing.T) {
	inBubble(t, &memory{}, "", "", sseType, func(b *bench) {
		want := map[string]string{
			"Content-Type": "text/event-stream", "X-Accel-Buffering": "no",
			"Cache-Control": "private, no-cache, no-store, no-transform",
		}
		for name, value := range want {
			if got := b.w.header.Get(name); got != value {
				t.Errorf("%s: %q", name, got)
			}
		}
		seen := []string{"hello"}
		silent := func(d time.Duration, cursor string) {
			t.Helper()
			time.Sleep(d - time.Millisecond)
			b.sees(seen...)
			time.Sleep(time.Millisecond)
			seen = append(seen, "heartbeat")
			b.sees(seen...)
			if f := b.w.last(); f.ID != memoryLog+cursor {
				t.Errorf("heartbeat %+v", f)
			}
		}
		silent(time.Second, ":0")
		silent(15*time.Second, ":0")
		for n, d := range []time.Duration{time.Second, time.Second, 15 * time.Second, 15 * time.Second} {
			time.Sleep(10 * time.Second)
			b.emit("1")
			seen = append(seen, "e")
			silent(d, fmt.Sprintf(":%d", n+1))
		}
	})
}

// TestAPauseIsWhatFollowsTheLastFrame: while events arrive, there are no heartbeats.
func TestAPauseIsWhatFollowsTheLastFrame(t *testing.T) {
	inBubble(t, &memory{}, "", "", sseType, func(b *bench) {
		want := []string{"hello"}
		for range 20 {
			time.Sleep(900 * time.Millisecond)
			b.emit("1")
			want = append(want, "e")
		}
		time.Sleep(time.Second - time.Millisecond)
		b.sees(want...)
		time.Sleep(time.Millisecond)
		b.sees(append(want, "heartbeat")...)
	})
}

func TestMaxAgeEndsAStream(t *testing.T) {
	inBubble(t, &memory{}, "", "", sseType, func(b *bench) {
		time.Sleep(3300*time.Second - time.Millisecond)
		if b.ended() {
			t.Fatal("too early")
		}
		time.Sleep(time.Millisecond)
		if !b.ended() {
			t.Fatal("did not end")
		}
		if f := b.w.last(); f.Event != "culvert:reconnect" || f.Data != `{"reason":"max_age","after":0.5}` || f.Retry != "500" {
			t.Errorf("last frame %+v", f)
		}
	})
}

func TestMaxAgeIsJittered(t *testing.T) {
	h := &Handler{o: Options{MaxAge: 100 * time.Second}, random: func() float64 { return 0.999999 }}
	if life := h.age(); life < 90*time.Second || life > 91*time.Second {
		t.Errorf("life %v", life)
	}
}

func TestExpiryEndsAStreamAndAPoll(t *testing.T) {
	inBubble(t, &memory{}, "", "token", sseType, func(b *bench) {
		time.Sleep(time.Minute)
		if !b.ended() {
			t.Fatal("did not end")
		}
		if f := b.w.last(); f.Event != "culvert:reconnect" || !strings.Contains(f.Data, `"expired"`) {
			t.Errorf("last frame %+v", f)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		h, err := newHandler(inMemory(m), Options{JWTSecret: testSecret})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/default/events?wait=50", nil)
		r.Body, r.ContentLength = http.NoBody, 0
		r.Header.Set("Authorization", "Bearer "+tokenUntil(t, "c", time.Now().Add(10*time.Second)))
		w := &recorder{header: http.Header{}}
		start := time.Now()
		h.ServeHTTP(w, r)
		if took := time.Since(start); w.status != 200 || took > 10*time.Second {
			t.Errorf("%d after %v", w.status, took)
		}
	})
}

// TestExpiryIsNotPutOffByLeeway: at exp new requests are refused, and open ones end.
func TestExpiryIsNotPutOffByLeeway(t *testing.T) {
	for _, c := range []struct {
		accept     string
		left, want time.Duration
	}{
		{sseType, 10 * time.Second, 10 * time.Second}, {"*/*", 10 * time.Second, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, err := newHandler(inMemory(&memory{}), Options{JWTSecret: testSecret, JWTLeeway: 30 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/default/events?wait=50", nil)
			r.Body, r.ContentLength = http.NoBody, 0
			r.Header.Set("Accept", c.accept)
			r.Header.Set("Authorization", "Bearer "+tokenUntil(t, "c", time.Now().Add(c.left)))
			w := &recorder{header: http.Header{}}
			start := time.Now()
			h.ServeHTTP(w, r.Clone(t.Context()))
			if took := time.Since(start); w.status != 200 || took != c.want {
				t.Errorf("%s with %v left: %d after %v", c.accept, c.left, w.status, took)
			}
			late := httptest.NewRecorder()
			if h.ServeHTTP(late, r); late.Code != 401 {
				t.Errorf("%s after exp: %d", c.accept, late.Code)
			}
			if c.accept != sseType {
				return
			}
			if f := w.last(); f.Event != "culvert:reconnect" || !strings.Contains(f.Data, `"expired"`) {
				t.Errorf("last frame %+v", f)
			}
		})
	}
}

func TestDrainEndsStreamsAndPolls(t *testing.T) {
	inBubble(t, &memory{}, "", "", sseType, func(b *bench) {
		b.h.random = func() float64 { return 0.5 }
		b.h.Drain()
		if !b.ended() {
			t.Fatal("did not end")
		}
		if f := b.w.last(); f.Event != "culvert:reconnect" || f.Data != `{"reason":"drain","after":1.75}` {
			t.Errorf("last frame %+v", f)
		}
	})
	inBubble(t, &memory{}, "wait=50", "", "*/*", func(b *bench) {
		time.Sleep(3 * time.Second)
		if b.ended() {
			t.Fatal("too early")
		}
		b.h.Drain()
		if !b.ended() {
			t.Fatal("did not end")
		}
		if want := `{"events":[],"cursor":"m3m0:0","more":false,"retry":0.5}`; b.w.body.String() != want {
			t.Errorf("%s, want %s", b.w.body.String(), want)
		}
	})
}

func TestPollEndsAfterItsWait(t *testing.T) {
	inBubble(t, &memory{}, "wait=7.5", "", "*/*", func(b *bench) {
		time.Sleep(7500*time.Millisecond - time.Nanosecond)
		if b.ended() {
			t.Fatal("too early")
		}
		time.Sleep(time.Nanosecond)
		if !b.ended() || b.w.body.String() != `{"events":[],"cursor":"m3m0:0","more":false}` {
			t.Errorf("%q", b.w.body.String())
		}
	})
	inBubble(t, &memory{}, "", "", "*/*", func(b *bench) {
		time.Sleep(25*time.Second - 1)
		if b.ended() {
			t.Fatal("too early")
		}
		b.emit("1")
		if !b.ended() || !strings.Contains(b.w.body.String(), `"offset":1,`) {
			t.Errorf("%q", b.w.body.String())
		}
	})
}

func TestAStreamOutlivesPostgres(t *testing.T) {
	m := &memory{}
	inBubble(t, m, "", "", sseType, func(b *bench) {
		m.set(func() { m.pollErr = fmt.Errorf("read: %w", event.ErrUnavailable) })
		synctest.Wait()
		before := m.tries()
		time.Sleep(32 * time.Second)
		if tries := m.tries() - before; tries < 15 || tries > 50 {
			t.Errorf("%d tries in 32s", tries)
		}
		b.sees("hello", "heartbeat", "heartbeat", "heartbeat")
		for range 1000 { // wakes do not shorten the pause
			m.set(func() {})
		}
		synctest.Wait()
		if tries := m.tries() - before; tries > 50 {
			t.Errorf("%d tries", tries)
		}
		m.mu.Lock()
		m.pollErr = nil
		m.mu.Unlock()
		b.emit("1")
		time.Sleep(2 * time.Second) // the longest pause after an error
		b.sees("hello", "heartbeat", "heartbeat", "heartbeat", "e", "heartbeat")
		b.emit("2")
		b.sees("hello", "heartbeat", "heartbeat", "heartbeat", "e", "heartbeat", "e")
	})
}

func TestAClosedQueueEndsAStream(t *testing.T) {
	m := &memory{}
	inBubble(t, m, "", "", sseType, func(b *bench) {
		m.set(func() { m.pollErr = event.ErrClosed })
		if !b.ended() || !strings.Contains(b.w.last().Data, `"drain"`) {
			t.Errorf("frames %v", b.w.seen())
		}
	})
}

func TestASlowOrLostClientEndsAStream(t *testing.T) {
	inBubble(t, &memory{}, "", "", sseType, func(b *bench) {
		b.w.mu.Lock()
		b.w.stalled = true
		b.w.mu.Unlock()
		e, _ := event.ParseEventName("e")
		if _, err := b.m.Append(t.Context(), []event.Emit{{Event: e}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15*time.Second + time.Millisecond)
		if !b.ended() {
			t.Error("a client that does not read keeps its stream")
		}
	})
	inBubble(t, &memory{}, "", "", sseType, func(b *bench) {
		b.w.mu.Lock()
		b.w.broken = true
		b.w.mu.Unlock()
		b.emit("1")
		if !b.ended() {
			t.Error("a broken connection keeps its stream")
		}
	})
	inBubble(t, &memory{}, "", "", sseType, func(b *bench) {
		b.cancel()
		if !b.ended() || len(b.w.seen()) != 1 {
			t.Errorf("a client that left keeps its stream: %v", b.w.seen())
		}
	})
}

func TestManyEventsAreOneWrite(t *testing.T) {
	m := &memory{}
	inBubble(t, m, "", "", sseType, func(b *bench) {
		e, _ := event.ParseEventName("e")
		big, _ := event.ParseData([]byte(`"` + strings.Repeat("x", 100<<10) + `"`))
		emits := make([]event.Emit, 500)
		for i := range emits {
			emits[i] = event.Emit{Event: e}
		}
		emits[250].Data = big
		before := b.w.flushes
		if _, err := m.Append(t.Context(), emits); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if b.w.flushes != before+1 {
			t.Errorf("%d flushes", b.w.flushes-before)
		}
		frames := apitest.ParseFrames(b.w.body.String())
		for i, f := range frames[1:] {
			if want := memoryLog + ":" + strconv.Itoa(i+1); f.ID != want {
				t.Fatalf("frame %d has id %s", i+1, f.ID)
			}
		}
		if len(frames) != 501 {
			t.Errorf("%d frames", len(frames))
		}
	})
}

func TestGapWithoutEvents(t *testing.T) {
	m := &memory{}
	inBubble(t, m, "", "", sseType, func(b *bench) {
		m.set(func() {
			m.gap = &event.Gap{From: apitest.CursorOf("m3m0:0"), To: apitest.CursorOf("m3m0:5"), Reason: event.GapPruned}
		})
		b.sees("hello", "gap")
		if b.w.flushes != 2 {
			t.Errorf("%d flushes", b.w.flushes)
		}
	})
}
