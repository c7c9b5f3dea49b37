package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
)

// eventStream reads the frames of a stream, and does nothing else.
type eventStream struct {
	res    *http.Response
	r      *bufio.Reader
	cancel context.CancelFunc
}

// openStream opens a stream and waits for its hello frame.
func openStream(ctx context.Context, url string) (*eventStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Accept", "text/event-stream")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) //nolint:bodyclose // close does
	if err != nil {
		cancel()
		return nil, err
	}
	s := &eventStream{res, bufio.NewReaderSize(res.Body, 64<<10), cancel}
	if res.StatusCode != http.StatusOK {
		s.close()
		return nil, fmt.Errorf("stream: status %d", res.StatusCode)
	}
	if _, err := s.next(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// next returns the data of the next frame, valid until the next call.
func (s *eventStream) next() (data []byte, err error) {
	for {
		line, err := s.r.ReadSlice('\n')
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
	s.cancel()
	_ = s.res.Body.Close()
}

func openStreams(ctx context.Context, url func(i int) string) ([]*eventStream, error) {
	var streams []*eventStream
	for i := range streamCount {
		s, err := openStream(ctx, url(i))
		if err != nil {
			return streams, err
		}
		streams = append(streams, s)
	}
	return streams, nil
}

func closeAll(streams []*eventStream) {
	for _, s := range streams {
		s.close()
	}
}

// streamCount is how many streams a fan-out is measured with.
const streamCount = 1000
