package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
)

// TestHandlersCommands runs the commands for a handler that fails until the test repairs it.
func TestHandlersCommands(t *testing.T) {
	env := []string{"DATABASE_URL=" + postgres(t).DSN()}
	must(t, "", env, "migrate", "up")
	q, err := queue.Open(t.Context(), queue.Options{DatabaseURL: env[0][len("DATABASE_URL="):], Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ns, err := event.ParseNamespace("default")
	if err != nil {
		t.Fatal(err)
	}
	name, err := event.ParseEventName("mail")
	if err != nil {
		t.Fatal(err)
	}
	var mended atomic.Bool
	sent := make(chan event.Offset, 10)
	err = q.Handle(ns, "mail", func(_ context.Context, e *event.Event) (any, error) {
		if !mended.Load() {
			return nil, errors.New("no \x1b[31mroute")
		}
		sent <- e.Offset
		return nil, nil
	}, handlers.Named("mailer"), handlers.Tries(1))
	if err != nil {
		t.Fatal(err)
	}
	var offsets []event.Offset
	for range 3 {
		r, err := q.Append(t.Context(), []event.Emit{{Namespace: ns, Event: name}})
		if err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, r[0].Cursor.Offset)
	}
	listed := func(columns string) {
		t.Helper()
		row := regexp.MustCompile(`(?m)^default +mailer +mail +` + columns + `$`)
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			out := must(t, "", env, "handlers", "list")
			if row.MatchString(out) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("no %s in\n%s", row, out)
			}
		}
	}
	listed(fmt.Sprintf("true +%d +0 +3 +0", offsets[2]))
	out := must(t, "", env, "handlers", "parked", "mailer", "--limit=1")
	if !regexp.MustCompile(fmt.Sprintf(`(?m)^%d +\* +mail +1 +\S+Z +no \\u001b\[31mroute$`, offsets[0])).MatchString(out) || strings.Count(out, "\n") != 2 {
		t.Errorf("parked prints\n%s", out)
	}
	mended.Store(true)
	must(t, "", env, "handlers", "retry", "mailer", fmt.Sprint(offsets[1]))
	if got := <-sent; got != offsets[1] {
		t.Errorf("retried %d, want %d", got, offsets[1])
	}
	must(t, "", env, "handlers", "drop", "mailer", fmt.Sprint(offsets[0]))
	listed(`true +\d+ +0 +1 +0`)
	must(t, "", env, "handlers", "retry", "mailer", "--all")
	if got := <-sent; got != offsets[2] {
		t.Errorf("retried %d, want %d", got, offsets[2])
	}
	if code, _, stderr := run(t, "", env, "handlers", "drop", "mailer", "--handler"); code != exitFailure || !strings.Contains(stderr, "running") {
		t.Errorf("drop of a live handler: %d, %s", code, stderr)
	}
	if code, _, stderr := run(t, "", env, "handlers", "parked", "nobody"); code != exitFailure || !strings.Contains(stderr, "default/nobody: no such handler") {
		t.Errorf("parked events of an unknown handler: %d, %s", code, stderr)
	}
	for _, args := range [][]string{{"retry", "mailer"}, {"retry", "mailer", "1", "--all"}, {"drop", "mailer", "x"}, {"parked"}, {"drop", "mailer", "1", "--handler"}} {
		if code, _, _ := run(t, "", env, append([]string{"handlers"}, args...)...); code != exitUsage {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
