package cmd

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/spf13/cobra"

	culvert "github.com/culvertmq/culvert/clients/go"
	"github.com/culvertmq/culvert/cmd/usage"
)

// listenFlags are the flags of listen.
type listenFlags struct {
	clientFlags
	rooms    []string
	after    string
	earliest bool
	poll     bool
	ack      bool
	json     bool
	count    int
}

func (p *process) listenCommand() *cobra.Command {
	var f listenFlags
	c := &cobra.Command{
		Use:   "listen",
		Short: "Follow events",
		Long: `Follows events and prints each one on a line, until Ctrl-C, --count, or an error
that cannot pass. After a lost connection or a restart of the server it continues
where it was.

As a client (--client, or the subject of a token) it starts at the client's
stored cursor, which --ack moves past each printed event; a new client starts
at the newest event. With --rooms it follows only these rooms, and the server
stores nothing. It reports on standard error when events are gone
because retention has dropped them or the log was restored or replaced.

It uses Server-Sent Events, and long polling with --poll or when nothing arrives
through a stream, for example behind a proxy that buffers.`,
		Example: `  culvert listen --client alice --ack
  culvert listen --client reader --rooms lobby,orders --from-earliest --json
  culvert listen --client alice --poll --count 1`,
		Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.listen(c, f) },
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.rooms, "rooms", nil, "comma-separated rooms to follow, instead of the client's own and *")
	flags.StringVar(&f.after, "after", "", "start after this cursor, such as k3f9:4711")
	flags.BoolVar(&f.earliest, "from-earliest", false, "start at the oldest retained event")
	flags.BoolVar(&f.poll, "poll", false, "use long polling")
	flags.BoolVar(&f.ack, "ack", false, "acknowledge events after printing them")
	flags.BoolVar(&f.json, "json", false, "print events as JSON objects, as the server sends them")
	flags.IntVar(&f.count, "count", 0, "stop after this many events; 0: never")
	f.add(c, "follow as this client (API keys only; a token is for one client)")
	return c
}

func (p *process) listen(c *cobra.Command, f listenFlags) error {
	switch {
	case f.after != "" && f.earliest:
		return usage.Errorf(c, "--after and --from-earliest are mutually exclusive")
	case f.count < 0:
		return usage.Errorf(c, "--count must not be negative")
	case f.ack && len(f.rooms) > 0:
		return usage.Errorf(c, "--ack and --rooms are mutually exclusive: with --rooms there is no client whose cursor could move")
	}
	ctx, end := context.WithCancelCause(c.Context())
	defer end(nil)
	l := &listener{out: printer{p.stdout, f.json}, left: f.count, end: end, say: p.say, poll: f.poll}
	o := culvert.Options{Rooms: f.rooms, After: f.after, Earliest: f.earliest, NoAck: !f.ack}
	if f.poll {
		o.Transport = culvert.Poll
	}
	cl, err := p.dial(c, f.clientFlags, l.options(o))
	if err != nil {
		return err
	}
	defer cl.Close()
	cl.OnAny(l.print)
	cl.On("culvert:reply", l.print)
	err = cl.Listen(ctx)
	cause := context.Cause(ctx)
	switch {
	case err != nil && !errors.Is(err, culvert.ErrStop):
		return explain(err)
	case c.Context().Err() != nil, errors.Is(cause, errEnough):
		return nil
	}
	return explain(cause)
}

// listener prints events, and reports changes of the connection to the person at the terminal.
type listener struct {
	out  printer
	left int                     // how many events to print yet; 0: no limit
	end  context.CancelCauseFunc // ends listen
	say  func(format string, args ...any)

	mu   sync.Mutex // the client calls from several goroutines
	lost bool       // a lost connection was reported
	poll bool       // polling was asked for or reported
}

var errEnough = errors.New("all requested events have arrived")

// options sets the callbacks of the client that call the listener.
func (l *listener) options(o culvert.Options) culvert.Options {
	o.GiveUp, o.OnConnect, o.OnLost, o.OnGap, o.OnError = hopeless, l.connected, l.away, l.gap, l.refused
	return o
}

// print is the handler of all events.
func (l *listener) print(_ context.Context, e *culvert.Event) (any, error) {
	if err := l.out.print(e.Raw); err != nil {
		l.end(err)
		return nil, culvert.ErrStop
	}
	if l.left > 0 {
		if l.left--; l.left == 0 {
			l.end(errEnough)
		}
	}
	return nil, nil
}

func (l *listener) connected(t culvert.Transport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		l.say("connected again")
	}
	if t == culvert.Poll && !l.poll {
		l.say("streams do not work here; continuing with long polling")
	}
	l.lost, l.poll = false, l.poll || t == culvert.Poll
}

// away reports a failed connection, but only once until the next good one.
func (l *listener) away(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.lost {
		l.lost = true
		l.say("%v; connecting again until it works", oneLine(explain(err)))
	}
}

func (l *listener) gap(g culvert.Gap) {
	why := "retention has dropped them"
	switch g.Reason {
	case "log":
		why = "the server has another log now"
	case "rewound":
		why = ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if why == "" {
		l.say("gap: the server's database was restored to %s, so events after it up to %s may be gone", printable(g.To), printable(g.From))
		return
	}
	l.say("gap: events after %s up to %s are gone: %s", printable(g.From), printable(g.To), why)
}

// refused is called when an acknowledgement is refused. If the log was replaced since the event, listen goes
// on: there is no cursor to move.
func (l *listener) refused(err error) {
	var p *culvert.Problem
	if !errors.As(err, &p) || p.Status != http.StatusConflict {
		l.end(err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.say("%v", oneLine(explain(err)))
}
