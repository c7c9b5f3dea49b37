package cmd

import (
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/cmd/usage"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/handlers"
)

// handlersFlags are the flags of the commands about handlers.
type handlersFlags struct {
	namespace    string
	limit        int
	all, handler bool
}

func (p *process) handlersCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "handlers",
		Short: "Inspect the handlers of applications, and retry or drop their failed events",
		Long: `Shows the handlers that applications which embed Culvert have registered, and the
state of their events. An event that failed as often as its handler allows is
parked: it is not run again until 'retry'; 'drop' gives it up for good.

The database is that of --listen-database-url or --database-url.`,
		Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	list := &cobra.Command{
		Use: "list", Short: "List the handlers", Args: usage.NoArgs,
		Example: `  culvert handlers list --database-url postgres://culvert:secret@db:5432/culvert`,
		RunE:    func(c *cobra.Command, _ []string) error { return p.operate(c, p.listHandlers) },
	}
	config.AddSettings(list, "database-url", "listen-database-url")
	c.AddCommand(list, p.parkedCommand(), p.retryCommand(), p.dropCommand())
	return c
}

func (p *process) parkedCommand() *cobra.Command {
	var f handlersFlags
	c := &cobra.Command{
		Use: "parked NAME", Short: "List the parked events of a handler, the oldest first",
		Example: `  culvert handlers parked mailer`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage.Errorf(c, "want the handler's name")
			}
			return p.operate(c, func(c *cobra.Command, o *handlers.Operator) error { return p.parked(c, o, f, args[0]) })
		},
	}
	f.add(c)
	c.Flags().IntVar(&f.limit, "limit", 100, "list at most this many")
	return c
}

func (p *process) retryCommand() *cobra.Command {
	var f handlersFlags
	c := &cobra.Command{
		Use: "retry NAME OFFSET…", Short: "Run parked events again, with all their tries",
		Example: "  culvert handlers retry mailer 4711 4712\n  culvert handlers retry mailer --all",
		RunE: func(c *cobra.Command, args []string) error {
			return p.change(c, f, args, "are run again", (*handlers.Operator).Retry)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&f.all, "all", false, "all parked events of the handler")
	return c
}

func (p *process) dropCommand() *cobra.Command {
	var f handlersFlags
	c := &cobra.Command{
		Use: "drop NAME OFFSET…", Short: "Drop parked events, or a handler that no application runs",
		Example: "  culvert handlers drop mailer 4711\n  culvert handlers drop mailer --all\n  culvert handlers drop old-mailer --handler",
		RunE: func(c *cobra.Command, args []string) error {
			if f.handler {
				return p.dropHandler(c, f, args)
			}
			return p.change(c, f, args, "were dropped", (*handlers.Operator).Drop)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&f.all, "all", false, "all parked events of the handler")
	c.Flags().BoolVar(&f.handler, "handler", false, "drop the handler itself, with its position and all its events")
	return c
}

func (f *handlersFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.namespace, "namespace", "default", "namespace of the handler")
	config.AddSettings(c, "database-url", "listen-database-url")
}

// operate runs do with a connection, which it closes afterwards.
func (p *process) operate(c *cobra.Command, do func(*cobra.Command, *handlers.Operator) error) error {
	url, err := p.answeringDatabase(c)
	if err != nil {
		return err
	}
	o, err := queue.OpenOperator(c.Context(), url)
	if err != nil {
		return err
	}
	defer o.Close()
	return do(c, o)
}

func (p *process) listHandlers(c *cobra.Command, o *handlers.Operator) error {
	all, err := o.Handlers(c.Context())
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAMESPACE\tNAME\tPATTERN\tLIVE\tPOSITION\tWAITING\tPARKED\tGAPS")
	for _, h := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%t\t%d\t%d\t%d\t%d\n",
			h.Namespace, printable(h.Name), printable(h.Pattern), h.Live, h.Position, h.Waiting, h.Parked, h.Gaps)
	}
	return table.Flush()
}

func (p *process) parked(c *cobra.Command, o *handlers.Operator, f handlersFlags, name string) error {
	ns, err := event.ParseNamespace(f.namespace)
	if err != nil {
		return err
	}
	all, err := o.Parked(c.Context(), ns, name, f.limit)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "OFFSET\tROOM\tEVENT\tTRIES\tPARKED\tERROR")
	for _, e := range all {
		fmt.Fprintf(table, "%d\t%s\t%s\t%d\t%s\t%s\n", e.Offset, printable(e.Room), printable(e.Event),
			e.Tries, e.At.UTC().Format(time.RFC3339), shorten(printable(e.Error), 200))
	}
	return table.Flush()
}

// change retries or drops the parked events that the arguments name.
func (p *process) change(c *cobra.Command, f handlersFlags, args []string, what string,
	do func(*handlers.Operator, context.Context, event.Namespace, string, ...event.Offset) (int, error),
) error {
	if len(args) < 1 || (len(args) == 1) != f.all {
		return usage.Errorf(c, "want the handler's name, and either offsets or --all")
	}
	ns, err := event.ParseNamespace(f.namespace)
	if err != nil {
		return err
	}
	var offsets []event.Offset
	for _, arg := range args[1:] {
		n, err := strconv.ParseUint(arg, 10, 53)
		if err != nil {
			return usage.Errorf(c, "%q is not an offset", arg)
		}
		offsets = append(offsets, event.Offset(n))
	}
	return p.operate(c, func(c *cobra.Command, o *handlers.Operator) error {
		n, err := do(o, c.Context(), ns, args[0], offsets...)
		if err == nil {
			p.say("%d parked events %s", n, what)
		}
		return err
	})
}

func (p *process) dropHandler(c *cobra.Command, f handlersFlags, args []string) error {
	if len(args) != 1 || f.all {
		return usage.Errorf(c, "--handler takes only the handler's name")
	}
	ns, err := event.ParseNamespace(f.namespace)
	if err != nil {
		return err
	}
	return p.operate(c, func(c *cobra.Command, o *handlers.Operator) error {
		err := o.Remove(c.Context(), ns, args[0])
		if err == nil {
			p.say("the handler was dropped")
		}
		return err
	})
}
