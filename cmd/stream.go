package cmd

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/r3labs/sse/v2"
)

// helloPatience is how long a stream may take to bring its first frame; beyond,
// something on the way buffers it.
const helloPatience = 3 * time.Second

// stream follows one SSE connection to its end. It never returns nil.
func (l *follower) stream(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	watchdog := time.AfterFunc(l.hurry, func() { cancel(errSilence) })
	defer watchdog.Stop()
	err := l.read(ctx, watchdog)
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, errSilence) && !l.progress {
			return errNoHello
		}
		return cause // why the connection was cut, which err only shows the effect of
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection to the server ended")
	}
	return err
}

// read opens the connection and takes in its frames.
func (l *follower) read(ctx context.Context, watchdog *time.Timer) error {
	body, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	frames := newFrameReader(body)
	first, err := frames.next()
	if err != nil {
		return err
	}
	silence, err := l.hello(first)
	for err == nil {
		watchdog.Reset(silence)
		var frame *sse.Event
		if frame, err = frames.next(); err == nil {
			err = l.take(frame)
		}
	}
	return err
}

// open asks for the stream and returns its body.
func (l *follower) open(ctx context.Context) (io.ReadCloser, error) {
	req, err := l.client.newRequest(ctx, http.MethodGet, "/events", l.query(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if l.cursor != "" {
		req.Header.Set("Last-Event-ID", l.cursor)
	}
	resp, err := l.client.do(req)
	if err != nil {
		return nil, err
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		resp.Body.Close()
		return nil, responsef("it is not an event stream but %q", shorten(printable(kind), 60))
	}
	return resp.Body, nil
}
