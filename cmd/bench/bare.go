package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/cmd/usage"
)

var madeFrame = []byte("id: k3f9:4711\nevent: chat message\ndata: " +
	`{"offset":4711,"room":"lobby","event":"chat message","data":{"text":"hello from the other side","n":12345},"from":null,"at":"2026-11-23T05:40:00.123Z"}` + "\n\n")

// bareHub is the ceiling: it writes frames that were made beforehand to all connections, waiting frames in one
// write, and stores nothing.
type bareHub struct {
	mu    sync.Mutex
	conns []chan []byte
}

func (h *bareHub) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = nil
}

// send sends a frame to n connections, beginning with connection number from.
func (h *bareHub) send(frame []byte, from, n int) {
	for i := range n {
		h.conns[(from+i)%len(h.conns)] <- frame
	}
}

// sendAll sends a frame to all connections.
func (h *bareHub) sendAll(frame []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		h.conns[c] <- frame
	}
}

func (h *bareHub) remove(c chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = slices.DeleteFunc(h.conns, func(other chan []byte) bool { return other == c })
}

func (h *bareHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := make(chan []byte, 1024)
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	h.mu.Lock()
	h.conns = append(h.conns, c)
	h.mu.Unlock()
	defer h.remove(c)
	_, _ = w.Write([]byte("event: hello\ndata: {}\n\n"))
	_ = flush.Flush()
	for {
		select {
		case frame := <-c:
			_, err := w.Write(frame)
			for len(c) > 0 && err == nil {
				_, err = w.Write(<-c)
			}
			if err != nil || flush.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// bareCommand runs the bare program as a process of its own: GET receives frames, POST sends one to all
// connections.
func bareCommand(stderr io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "bare", Short: "The ceiling of cost", Hidden: true, Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			hub := &bareHub{}
			server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					hub.sendAll(madeFrame)
					answerOnly(w, r)
					return
				}
				hub.ServeHTTP(w, r)
			})}
			stop := context.AfterFunc(c.Context(), func() { _ = server.Close() })
			defer stop()
			fmt.Fprintf(stderr, "ready http://%s\n", l.Addr())
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
	}
}

// answerOnly is the ceiling: it reads the body and answers like an emit.
func answerOnly(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"offset":4711,"cursor":"k3f9:4711"}`)
}

// barePolls is the ceiling: it answers polls from memory, with events that were encoded beforehand.
type barePolls struct {
	mu     sync.Mutex
	events []string
	more   chan struct{} // closed with the next event
}

func newBarePolls() *barePolls { return &barePolls{more: make(chan struct{})} }

func (p *barePolls) send(_ context.Context, n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, `{"offset":4711,"room":"*","event":"chat message","data":{"text":"hello from the other side","n":`+strconv.Itoa(n)+
		`},"from":null,"at":"2026-11-23T05:40:00.123Z"}`)
	close(p.more)
	p.more = make(chan struct{})
	return nil
}

// ServeHTTP answers as soon as there is an event after the cursor.
func (p *barePolls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.Atoi(r.URL.Query().Get("after"))
	for {
		p.mu.Lock()
		events, more := p.events, p.more
		p.mu.Unlock()
		if err != nil { // the first poll is for what is next
			after, err = len(events), nil
		}
		if len(events) > after {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"events":[`+strings.Join(events[after:], ",")+`],"cursor":"`+strconv.Itoa(len(events))+`"}`)
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}
