package bench

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	churners    = 32     // clients that come and go at the same time
	churnNames  = 20_000 // names, used in turn
	churnSettle = 5      // the memory at the end is compared with that after 1/churnSettle of the time
	// churnPause is how long clients rest before the memory is read: longer than an instance remembers a client between
	// two polls, and than Go takes to collect garbage when nothing happens.
	churnPause = 150 * time.Second
)

// churn measures whether a server's memory stays the same while clients come and go: each joins a room, emits,
// polls, opens a stream, and leaves. It reads the server's memory
// some seconds after the clients have stopped.
func (b *bench) churn(ctx context.Context, r *rig, _ []instance) error {
	if runtime.GOOS != "linux" {
		fmt.Fprintln(b.stderr, "culvert: churn is only measured on Linux, since it needs /proc")
		return nil
	}
	server, err := r.server(ctx)
	if err != nil {
		return err
	}
	var next, stays atomic.Int64
	first := b.churnFor / churnSettle
	var memory [2]float64
	for i, d := range []time.Duration{first, b.churnFor - first} {
		fmt.Fprintf(b.stderr, "culvert: clients come and go for %v …\n", d)
		coming, until := context.WithTimeout(ctx, d)
		var all errgroup.Group
		for range churners {
			all.Go(func() error {
				for coming.Err() == nil {
					if err := comeAndGo(ctx, server.url, int(next.Add(1))%churnNames); err != nil {
						return err
					}
					stays.Add(1)
				}
				return nil
			})
		}
		err := all.Wait()
		until()
		if err != nil {
			return err
		}
		select {
		case <-time.After(churnPause):
		case <-ctx.Done():
			return ctx.Err()
		}
		if memory[i], err = server.memory(); err != nil {
			return err
		}
	}
	b.rows = append(b.rows, row{fmt.Sprintf("memory of a server after %v and %d stays of clients, compared with after %v", b.churnFor, stays.Load(), first),
		mebibytes(memory[1]), mebibytes(memory[0]), fmt.Sprintf("%.2f x", memory[1]/memory[0]), "1.1 x"})
	return nil
}

func mebibytes(n float64) string { return fmt.Sprintf("%.0f MiB", n/(1<<20)) }

// comeAndGo is the stay of one client.
func comeAndGo(ctx context.Context, url string, n int) error {
	client, room := "c"+strconv.Itoa(n), "r"+strconv.Itoa(n%1000)
	base := url + "/v1/default"
	p := newPoster("", "", 1)
	defer p.close()
	for _, do := range []struct {
		request func() (*http.Request, error)
		status  int
	}{
		{func() (*http.Request, error) {
			return newRequest(ctx, http.MethodPut, base+"/rooms/"+room+"/clients/"+client)
		}, http.StatusOK},
		{func() (*http.Request, error) {
			return newPost(ctx, base+"/emit", strings.Replace(oneEvent, "lobby", room, 1))
		}, http.StatusCreated},
		{func() (*http.Request, error) {
			return newRequest(ctx, http.MethodGet, base+"/events?wait=0&client="+client)
		}, http.StatusOK},
	} {
		req, err := do.request()
		if err != nil {
			return err
		}
		if err := p.do(req, do.status); err != nil {
			return err
		}
	}
	s, err := openStream(ctx, base+"/events?client="+client)
	if err != nil {
		return err
	}
	s.close()
	req, err := newRequest(ctx, http.MethodDelete, base+"/rooms/"+room+"/clients/"+client)
	if err != nil {
		return err
	}
	return p.do(req, http.StatusOK)
}
