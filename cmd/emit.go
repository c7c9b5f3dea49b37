package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	culvert "github.com/culvertmq/culvert/clients/go"
	"github.com/culvertmq/culvert/cmd/usage"
)

// emitFlags are the flags of emit.
type emitFlags struct {
	clientFlags
	rooms, except []string
	event, key    string
	file          string
	text          bool
	retryFor      time.Duration
}

func (p *process) emitCommand() *cobra.Command {
	var f emitFlags
	c := &cobra.Command{
		Use:   "emit [DATA]",
		Short: "Send events",
		Long: `Sends one event, which flags describe, with DATA as its JSON data (- reads it from
standard input; without DATA they are null), and prints the server's answer.

Without --event it sends many events from --file or standard input, one JSON
object on each line, as for POST /v1/{namespace}/emit, such as

  {"room":"lobby","event":"chat message","data":{"text":"hi"}}

Refused lines are reported with their numbers; all others are sent nevertheless,
and the exit code is then 1. A line without a "key" gets one, so that it is stored
only once even if it is repeated after a lost connection.`,
		Example: `  culvert emit --room lobby --event "chat message" '{"text":"hi"}'
  culvert emit --event notice --text "The server stops at noon"
  culvert emit --file events.jsonl
  tail -f events.jsonl | culvert emit --url https://events.example.com --token-file token`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage.Errorf(c, "DATA is one argument: put quotes around it")
			}
			return p.emit(c, f, args)
		},
	}
	flags := c.Flags()
	flags.StringArrayVar(&f.rooms, "room", nil, "room that the event is for; may be repeated (default: everyone in the namespace)")
	flags.StringArrayVar(&f.except, "except", nil, `room whose clients do not get the event; may be repeated; "@me" is the sender`)
	flags.StringVar(&f.event, "event", "", "name of the event")
	flags.StringVar(&f.key, "key", "", "idempotency key: the event is stored once, however often it is sent (default: a random key)")
	flags.BoolVar(&f.text, "text", false, "DATA is text, not JSON")
	flags.StringVar(&f.file, "file", "", "send the lines of this file; - is standard input")
	flags.DurationVar(&f.retryFor, "retry-for", 30*time.Second, "how long to try again if the server cannot be reached; 0: try only once")
	f.add(c, "emit as this client (API keys only)")
	return c
}

func (p *process) emit(c *cobra.Command, f emitFlags, args []string) error {
	single := f.event != "" || len(args) > 0
	switch {
	case single && f.file != "":
		return usage.Errorf(c, "the lines of --file are whole events: use it without --event and DATA")
	case single && f.event == "":
		return usage.Errorf(c, "DATA needs the name of its event: add --event NAME")
	case !single && (f.text || f.key != "" || len(f.rooms) > 0 || len(f.except) > 0):
		return usage.Errorf(c, "--room, --except, --key and --text need --event; the lines of a file have these fields themselves")
	}
	o := culvert.Options{RetryFor: f.retryFor, GiveUp: hopeless}
	if f.retryFor <= 0 {
		o.RetryFor = -1 // 0 would mean for ever
	}
	o.OnRetry = func(err error) {
		p.say("%v; trying again for up to %v", oneLine(explain(err)), f.retryFor)
	}
	cl, err := p.dial(c, f.clientFlags, o)
	if err != nil {
		return err
	}
	defer cl.Close()
	if single {
		return explain(p.emitOne(c, cl, f, args))
	}
	return explain(p.emitLines(c, cl, f))
}

// emitOne sends the event that the flags describe.
func (p *process) emitOne(c *cobra.Command, cl *culvert.Client, f emitFlags, args []string) error {
	m := culvert.Message{Event: f.event, Key: f.key, Rooms: f.rooms, Except: f.except}
	if len(args) > 0 {
		data, err := payload(c, args[0], f.text)
		if err != nil {
			return err
		}
		m.Data = data
	}
	receipt, err := cl.Emit(c.Context(), m)
	if err != nil {
		return err
	}
	return json.NewEncoder(p.stdout).Encode(receipt)
}

// payload reads DATA; "-" means that it is on standard input.
func payload(c *cobra.Command, arg string, text bool) (json.RawMessage, error) {
	if arg == "-" {
		content, err := io.ReadAll(c.InOrStdin())
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		arg = string(content)
	}
	if text {
		return json.Marshal(arg)
	}
	if !json.Valid([]byte(arg)) {
		return nil, usage.Errorf(c, `DATA is not JSON: %q; send it as text with --text, or quote it as '"…"'`, shorten(arg, 60))
	}
	return json.RawMessage(arg), nil
}

// emitLines sends the lines of the file or of standard input.
func (p *process) emitLines(c *cobra.Command, cl *culvert.Client, f emitFlags) error {
	input := p.stdin
	if f.file != "" && f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return err
		}
		defer file.Close()
		input = file
	} else if in, ok := input.(*os.File); ok && f.file == "" && isTerminal(in) {
		return usage.Errorf(c, "nothing to send: give --event and DATA, or lines with --file or on standard input")
	}
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	s := &sender{client: cl, progress: p.newProgress(input)}
	err := s.sendAll(ctx, readChunks(ctx, input, randomKey()+"-"))
	s.progress.finish()
	p.say("%s", s.summary())
	if err == nil && s.failed > 0 {
		return fmt.Errorf("%d of %d lines were not stored: %w", s.failed, s.failed+s.stored, errReported)
	}
	if err != nil && c.Context().Err() != nil {
		return errors.New("interrupted; the line above says how many events are stored")
	}
	return err
}
