package cmd

import (
	"context"
	"errors"

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
		Long: `Follows events and prints each one on a line, until Ctrl-C, --count, or an answer
that trying again cannot change. It goes on where it was after a lost connection
or a restart of the server.

As a client (--client, or the subject of a token) it starts at the client's
stored cursor, which --ack moves past each event printed; a client never seen
before starts at the newest event. With --rooms it follows just these rooms and
the server stores nothing. It says on standard error when events are gone
because retention has dropped them.

It uses Server-Sent Events, and long polling with --poll or when nothing comes
through a stream, as behind a proxy that buffers.`,
		Example: `  culvert listen --client alice --ack
  culvert listen --client reader --rooms lobby,orders --from-earliest --json
  culvert listen --client alice --poll --count 1`,
		Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.listen(c, f) },
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.rooms, "rooms", nil, "comma-separated rooms to follow, instead of the client's own and *")
	flags.StringVar(&f.after, "after", "", "start after this cursor, such as k3f9:4711")
	flags.BoolVar(&f.earliest, "from-earliest", false, "start at the oldest event there is")
	flags.BoolVar(&f.poll, "poll", false, "use long polling")
	flags.BoolVar(&f.ack, "ack", false, "acknowledge events after printing them")
	flags.BoolVar(&f.json, "json", false, "print events as the JSON objects they are on the wire")
	flags.IntVar(&f.count, "count", 0, "stop after this many events; 0 goes on")
	f.add(c, "follow as this client (API keys only; a token names its own)")
	return c
}

func (p *process) listen(c *cobra.Command, f listenFlags) error {
	switch {
	case f.after != "" && f.earliest:
		return usage.Errorf(c, "--after and --from-earliest exclude one another")
	case f.count < 0:
		return usage.Errorf(c, "--count must not be negative")
	case f.ack && len(f.rooms) > 0:
		return usage.Errorf(c, "--ack moves the cursor of a client, and --rooms follows rooms without one: leave one of them out")
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
