package culvert

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/r3labs/sse/v2"
)

// stream reads one SSE connection to its end.
func (f *follower) stream(ctx context.Context) (ending, error) {
	resp, err := f.ask(ctx, "text/event-stream", url.Values{})
	if err != nil {
		return ending{}, err
	}
	defer resp.Body.Close()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return ending{}, foreign("the content type is %.60q, not an event stream", kind)
	}
	frames := newFrameReader(resp.Body)
	frame, err := frames.next()
	if err == nil {
		err = f.hello(ctx, frame)
	}
	for err == nil {
		f.watch.Reset(f.ladder.left())
		if frame, err = frames.next(); err != nil {
			break
		}
		var asked *comeBack
		if err = f.take(ctx, frame); errors.As(err, &asked) {
			return ending{kind: endComeBack, after: asked.after}, nil
		}
		if err == nil && f.ladder.left() <= 0 {
			err = errLate
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errClosed
	}
	return ending{}, err
}

// comeBack means that the server asked the client to connect again after a while.
type comeBack struct{ after time.Duration }

func (e *comeBack) Error() string { return "the server asked to connect again later" }

// hello handles the first frame of a stream, which says how long silence may last.
func (f *follower) hello(ctx context.Context, frame *sse.Event) error {
	var hello struct {
		Log       string    `json:"log"`
		Heartbeat float64   `json:"heartbeat"` // seconds
		Settle    float64   `json:"settle"`    // seconds
		At        time.Time `json:"at"`
	}
	if json.Unmarshal(frame.Data, &hello) != nil || hello.Heartbeat <= 0 {
		return foreign("its first frame is %.100q", frame.Data)
	}
	retry := time.Second
	if ms, err := strconv.Atoi(string(frame.Retry)); err == nil {
		retry = seconds(float64(ms) / 1000)
	}
	f.ladder.hello(greeting{
		heartbeat: time.Duration(hello.Heartbeat * float64(time.Second)), retry: retry,
		settle: seconds(hello.Settle), at: hello.At,
	})
	f.inbox.setLog(hello.Log)
	f.worked(Stream)
	return f.reach(ctx, string(frame.ID), nil)
}

// take handles every frame but the first.
func (f *follower) take(ctx context.Context, frame *sse.Event) error {
	var control struct {
		Gap             // reconnect uses its Reason, too
		At    time.Time `json:"at"`
		After float64   `json:"after"` // seconds
	}
	name := string(frame.Event)
	switch name {
	case "culvert:heartbeat", "culvert:gap", "culvert:reconnect":
		if err := json.Unmarshal(frame.Data, &control); err != nil {
			return foreign("a frame %s in it is not as expected: %v", name, err)
		}
	}
	switch name {
	case "culvert:heartbeat":
		f.ladder.frame(control.At)
		return f.reach(ctx, string(frame.ID), nil)
	case "culvert:gap":
		f.ladder.frame(time.Time{})
		return f.skip(ctx, control.Gap)
	case "culvert:reconnect":
		if control.Reason == "expired" {
			f.requests.tokens.expire(ctx)
		}
		return &comeBack{seconds(control.After)}
	}
	f.ladder.frame(time.Time{})
	if name == "" || strings.HasPrefix(name, "culvert:") && len(frame.ID) == 0 {
		return nil // an unknown control frame of a later server
	}
	e, err := parseEvent(frame.Data)
	if err != nil {
		return err
	}
	return f.deliver(ctx, e, string(frame.ID))
}
