package cmd

import (
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"testing"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// A running instance continues at the offset that the command prints.
func TestRestoredCommand(t *testing.T) {
	dsn := postgres(t).DSN()
	env := []string{"DATABASE_URL=" + dsn}
	must(t, "", env, "migrate", "up")
	q, err := queue.Open(t.Context(), queue.Options{DatabaseURL: dsn, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	ns, _ := event.ParseNamespace("default")
	name, _ := event.ParseEventName("e")
	emit := func() event.Cursor {
		t.Helper()
		r, err := q.Append(t.Context(), []event.Emit{{Namespace: ns, Event: name}})
		if err != nil {
			t.Fatal(err)
		}
		return r[0].Cursor
	}
	before := emit()
	said := regexp.MustCompile(`^log (\w+) keeps everything up to offset (\d+) and continues after (\d+)\n$`).
		FindStringSubmatch(must(t, "", env, "restored"))
	if said == nil || said[1] != before.Log || said[2] != strconv.Itoa(int(before.Offset)) {
		t.Fatalf("culvert restored said %q, the last event was %v", said, before)
	}
	if after := emit(); said[3] != strconv.Itoa(int(after.Offset)-1) || after.Log != before.Log {
		t.Errorf("the next event is %v, and culvert restored said %q", after, said)
	}
}
