package cmd

import (
	"context"
	"errors"
	"net/http"
	"sync"

	culvert "github.com/culvertmq/culvert/clients/go"
)

// listener prints what a client receives and tells a person what happens to the
// connection.
type listener struct {
	out  printer
	left int                     // events until the end; 0: no end
	end  context.CancelCauseFunc // ends listen
	say  func(format string, args ...any)

	mu   sync.Mutex // the client tells from several goroutines
	lost bool       // the person was told that the connection is lost
	poll bool       // the person wanted or knows it
}

var errEnough = errors.New("all events asked for have come")

// options has the client tell the listener what happens.
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
		l.say("a stream does not work here, going on with long polling")
	}
	l.lost, l.poll = false, l.poll || t == culvert.Poll
}

// away tells of a failed connection, once until the next good one.
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
		l.say("gap: the server's database was put back to %s, so what it gave out up to %s may be gone", printable(g.To), printable(g.From))
		return
	}
	l.say("gap: events after %s up to %s are gone: %s", printable(g.From), printable(g.To), why)
}

// refused is told of acknowledgements. That the log was replaced since the event
// is no reason to end: there is nothing to move.
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
