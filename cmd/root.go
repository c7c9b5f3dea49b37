// Package cmd is Culvert's command line: the server, its clients and its tools.
//
// Run is the whole program. Its arguments are what the operating system gives a program, so that an end-to-end
// test can start the very same program on port 0.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/cmd/bench"
	"github.com/culvertmq/culvert/cmd/usage"
)

// Exit codes of Run.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2 // the command line itself is wrong
)

// Run executes one command line (without the program's name) and returns its exit code. The end of ctx has the
// effect of SIGTERM: serve stops gracefully, the other commands stop at once.
func Run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &process{environ, stdin, stdout, stderr}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintf(stderr, "culvert: %v\n", err)
	}
	var usage usage.Error
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// root makes the command tree. A new command is one more line here.
func (p *process) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "culvert",
		Short: "Events over plain HTTP, stored in Postgres",
		Long: `Culvert carries events both ways over plain HTTP, where WebSockets do not get
through: Server-Sent Events or long polling down, POST up, every event in
Postgres, a cursor per client.

Start with 'culvert serve': it brings its own Postgres and prints commands to try.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usage.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage.Errorf(c, "%w", err) })
	root.AddCommand(
		p.serveCommand(),
		p.emitCommand(),
		p.listenCommand(),
		p.tokenCommand(),
		p.keyCommand(),
		p.namespaceCommand(),
		p.migrateCommand(),
		p.handlersCommand(),
		p.restoredCommand(),
		p.healthcheckCommand(),
		p.configCommand(),
		bench.Command(p.stdout, p.stderr),
		p.versionCommand(),
	)
	return root
}

// sameSignal is how long after a signal another one counts as the same: tools that stop a process group, such
// as make, often also signal each process of it.
const sameSignal = time.Second

// UntilSignal returns a context that ends with SIGTERM or Ctrl-C. A signal that comes more than a second later
// ends the process at once.
func UntilSignal(parent context.Context) context.Context {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		time.Sleep(sameSignal)
		signal.Stop(signals)
	}()
	return ctx
}
