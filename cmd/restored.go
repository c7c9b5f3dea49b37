package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/cmd/usage"
	"github.com/culvertmq/culvert/queue"
)

func (p *process) restoredCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "restored",
		Short: "Tell Culvert that rows were restored while Postgres was running",
		Long: `Culvert itself notices a restore that restarts Postgres. After a restore that does not,
run this command when the restore is complete: after rows were put back into existing tables
(pg_restore --data-only, logical replication, by hand), or after a switch to another
server that was running all the time.

New offsets then start far above all that may have been used, instances drop what
they have in memory, and clients that were ahead of the restored log get a gap of reason
'rewound' and all events that replace the lost ones. Instances may run meanwhile. If you
run it without need, no client loses an event.

The database is that of --listen-database-url or --database-url. The private Postgres of
'culvert serve' prints its URL at start; a restore of it while 'serve' is stopped needs
no command.`,
		Example: `  culvert restored --database-url postgres://culvert:secret@db:5432/culvert`,
		Args:    usage.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return p.restored(c) },
	}
	config.AddSettings(c, "database-url", "listen-database-url")
	return c
}

func (p *process) restored(c *cobra.Command) error {
	url, err := p.answeringDatabase(c)
	if err != nil {
		return err
	}
	last, first, err := queue.Restored(c.Context(), url)
	if err != nil {
		return oneLine(err)
	}
	fmt.Fprintf(p.stdout, "log %s keeps everything up to offset %d and continues after %d\n", last.Log, last.Offset, first.Offset)
	p.say("every instance reads its ids and members again; clients beyond offset %d get a gap of reason 'rewound'", last.Offset)
	return nil
}
