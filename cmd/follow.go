package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// follower receives events over either transport and goes on from its cursor
// whenever a connection ends.
type follower struct {
	client *client
	rooms  []string
	cursor string // go on after this; empty: where the server says
	first  bool   // without a cursor, start at the oldest event
	poll   bool
	left   int           // events until the end; 0: no end
	acks   *acker        // nil: do not acknowledge
	hurry  time.Duration // how long a stream may take to bring its first frame
	out    printer

	progress bool // the connection brought something
	mute     int  // streams in a row that brought nothing at all
	lost     bool // the person was told that the connection is lost
}

// How a connection ends.
var (
	errEnough  = errors.New("all events asked for have come")
	errNoHello = errors.New("nothing came through the stream")
	errSilence = errors.New("the stream went silent")
)

// comeBack is the server's wish that the client returns after a while.
type comeBack struct {
	reason string
	after  time.Duration
}

func (e *comeBack) Error() string { return "the server asked to come back: " + printable(e.reason) }

// mutePatience is how many streams in a row may bring nothing before they are
// given up for long polling.
const mutePatience = 2

// run follows until ctx ends, enough events came, or the server refuses.
func (l *follower) run(ctx context.Context) error {
	wait := backoff{base: 500 * time.Millisecond, limit: 15 * time.Second}
	for {
		l.progress = false
		err := l.connect(ctx)
		if l.progress {
			wait.reset()
		}
		switch {
		case errors.Is(err, errEnough), ctx.Err() != nil:
			return nil
		case err == nil:
			continue
		case !temporary(err):
			return err
		}
		var asked *comeBack
		if errors.As(err, &asked) {
			pause(ctx, asked.after)
			continue
		}
		l.note(err)
		wait.wait(ctx, askedFor(err))
	}
}

// note tells of a failed connection, once until the next good one.
func (l *follower) note(err error) {
	if errors.Is(err, errNoHello) {
		if l.mute++; l.mute >= mutePatience {
			l.poll = true
			l.client.warn("nothing comes through a stream here, going on with long polling")
			return
		}
	}
	if !l.lost {
		l.lost = true
		l.client.warn("%v; connecting again until it works", oneLine(err))
	}
}

// alive notes that the connection works.
func (l *follower) alive() {
	if l.lost {
		l.client.warn("connected again")
	}
	l.progress, l.lost, l.mute = true, false, 0
}

func (l *follower) connect(ctx context.Context) error {
	if l.poll {
		return l.pollOnce(ctx)
	}
	return l.stream(ctx)
}

// query is what both transports ask for. The stream's cursor goes into a header.
func (l *follower) query() url.Values {
	query := url.Values{}
	query["rooms"] = slices.Clone(l.rooms)
	if len(l.rooms) == 1 && strings.Contains(l.rooms[0], ",") {
		query.Add("rooms", l.rooms[0]) // said twice, the comma is part of the name
	}
	if l.first && l.cursor == "" {
		query.Set("from", "earliest")
	}
	return query
}

// event is the part of an event that listen shows.
type event struct {
	Offset int64           `json:"offset"`
	Room   string          `json:"room"`
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
	Binary string          `json:"binary"`
	From   string          `json:"from"`
	At     string          `json:"at"`
}

// deliver prints an event, moves the cursor behind it and has it acknowledged.
func (l *follower) deliver(raw []byte, cursor string) error {
	if err := l.out.print(raw); err != nil {
		return err
	}
	l.cursor = cursor
	if l.acks != nil {
		l.acks.offer(cursor)
	}
	if l.left > 0 {
		if l.left--; l.left == 0 {
			return errEnough
		}
	}
	return nil
}

// gap is the server's report that events are gone.
type gap struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Reason string `json:"reason"`
}

func (l *follower) report(g gap) {
	why := "retention has dropped them"
	if g.Reason == "log" {
		why = "the server has another log now"
	}
	l.client.warn("gap: events after %s up to %s are gone: %s", printable(g.From), printable(g.To), why)
	l.cursor = g.To
}

// responsef makes a responseError.
func responsef(format string, args ...any) error {
	return &responseError{fmt.Sprintf(format, args...)}
}
