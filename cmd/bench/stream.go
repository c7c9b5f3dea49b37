package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"
)

const (
	// streamCount is how many streams a fan-out is measured with, unless a row says otherwise.
	streamCount = 1000
	// openers is how many streams are opened at a time. They come from one address, so they must be fewer than
	// the connections without credentials that a server accepts from one (--max-anonymous-address).
	openers = 256
)

// eventStream reads the frames of a stream, and does nothing else. It has no http.Client, whose goroutines and
// buffers would take more than the server does.
type eventStream struct {
	conn   net.Conn
	frames *bufio.Reader
	stop   func() bool
}

// openStream opens a stream and waits for its hello frame.
func openStream(ctx context.Context, url string) (*eventStream, error) {
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	s := &eventStream{conn: conn, stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
	if err := s.request(host, "/"+path); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// request asks for the stream and reads the answer up to the hello frame.
func (s *eventStream) request(host, path string) error {
	const request = "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nAccept: text/event-stream\r\n\r\n"
	if _, err := fmt.Fprintf(s.conn, request, path, host, apiKey); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(s.conn), nil) //nolint:bodyclose // close closes the connection
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return fmt.Errorf("stream: status %d: %s", res.StatusCode, text)
	}
	s.frames = bufio.NewReaderSize(res.Body, 16<<10)
	_, err = s.next()
	return err
}

// next returns the data of the next frame, valid until the next call.
func (s *eventStream) next() (data []byte, err error) {
	for {
		line, err := s.frames.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(line) == 1 {
			return data, nil
		}
		if rest, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			data = rest
		}
	}
}

func (s *eventStream) close() {
	s.stop()
	_ = s.conn.Close()
}

// openStreams opens n streams, many at the same time. The caller must close the streams, even
// after an error.
func openStreams(ctx context.Context, n int, url func(i int) string) ([]*eventStream, error) {
	all := make([]*eventStream, n)
	opening, failed := errgroup.WithContext(ctx)
	opening.SetLimit(openers)
	for i := range n {
		opening.Go(func() error {
			if failed.Err() != nil {
				return nil
			}
			s, err := openStream(ctx, url(i))
			if err == nil {
				all[i] = s
			}
			return err
		})
	}
	return all, opening.Wait()
}

func closeAll(streams []*eventStream) {
	for _, s := range streams {
		if s != nil {
			s.close()
		}
	}
}
