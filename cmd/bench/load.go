package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertmq/culvert/event"
)

// rate lets callers repeat work for duration and returns how much they did per second. The first fifth is a
// warm-up and does not count.
func rate(ctx context.Context, callers int, duration time.Duration, work func(ctx context.Context) (int, error)) (float64, error) {
	ctx, stop := context.WithTimeout(ctx, duration+duration/5)
	defer stop()
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				n, err := work(ctx)
				if err != nil && ctx.Err() == nil {
					failed.CompareAndSwap(nil, &err)
					stop()
				}
				done.Add(int64(n))
			}
		})
	}
	warm := time.NewTimer(duration / 5)
	defer warm.Stop()
	select {
	case <-warm.C:
	case <-ctx.Done():
	}
	before, start := done.Load(), time.Now()
	<-ctx.Done()
	after, took := done.Load(), time.Since(start)
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(after-before) / took.Seconds(), nil
}

// poster posts one body repeatedly over kept-alive connections.
type poster struct {
	client *http.Client
	url    string
	body   string
	status int // the expected status
}

func newPoster(url, body string, callers int) *poster {
	t := &http.Transport{MaxIdleConns: callers, MaxIdleConnsPerHost: callers, DisableCompression: true}
	return &poster{client: &http.Client{Transport: t}, url: url, body: body, status: http.StatusCreated}
}

func (p *poster) close() { p.client.CloseIdleConnections() }

func (p *poster) post(ctx context.Context) error {
	req, err := newPost(ctx, p.url, p.body)
	if err != nil {
		return err
	}
	return p.do(req, p.status)
}

// do sends a request and returns an error unless the answer has this status.
func (p *poster) do(req *http.Request, status int) error {
	res, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != status {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return fmt.Errorf("status %d: %s", res.StatusCode, text)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

const oneEvent = `{"room":"lobby","event":"chat message","data":{"text":"hello from the other side","n":12345}}`

// newPost makes a POST request with a JSON body and the bench's key.
func newPost(ctx context.Context, url, body string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header["Content-Type"] = []string{"application/json"}
	req.Header["Authorization"] = []string{"Bearer " + apiKey}
	return req, nil
}

// newRequest makes a request without a body and with the bench's key.
func newRequest(ctx context.Context, method, url string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header["Authorization"] = []string{"Bearer " + apiKey}
	return req, nil
}

func benchEmit(room string) (e event.Emit, err error) {
	var parts [4]error
	e.Namespace, parts[0] = event.ParseNamespace("default")
	var r event.Room
	r, parts[1] = event.ParseRoom(room)
	e.Rooms = []event.Room{r}
	e.Event, parts[2] = event.ParseEventName("chat message")
	e.Data, parts[3] = event.ParseData([]byte(`{"text":"hello from the other side","n":12345}`))
	return e, errors.Join(parts[:]...)
}

// apiKey is not a secret: it guards a server on loopback that runs for seconds.
const apiKey = "bench-key-of-a-server-that-lives-for-seconds"
