package cmd

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/cmd/usage"
	"github.com/culvertmq/culvert/migrations"
)

func (p *process) migrateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database schema up to date",
		Long: `Manages the schema 'culvert' in Postgres. 'culvert serve' brings it up to date by
itself. If the server's database user may not do that, use these commands first, and
run the server with --migrate=false.

The connection must be direct, not through a transaction pooler. It is that of
--listen-database-url or, without it, of --database-url.`,
		Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	up := &cobra.Command{
		Use:     "up",
		Short:   "Apply the migrations that are pending",
		Example: `  culvert migrate up --database-url postgres://culvert:secret@db:5432/culvert`,
		Args:    usage.NoArgs,
		RunE:    p.migrateUp,
	}
	status := &cobra.Command{
		Use:     "status",
		Short:   "List the migrations and when each one was applied",
		Example: `  DATABASE_URL=postgres://culvert:secret@db:5432/culvert culvert migrate status`,
		Args:    usage.NoArgs,
		RunE:    p.migrateStatus,
	}
	for _, sub := range []*cobra.Command{up, status} {
		config.AddSettings(sub, "database-url", "listen-database-url")
	}
	c.AddCommand(up, status)
	return c
}

func (p *process) migrateUp(c *cobra.Command, _ []string) error {
	cfg, err := p.databaseConfig(c)
	if err != nil {
		return err
	}
	states, err := p.awaitDatabase(c.Context(), &cfg.Config)
	if err != nil {
		return err
	}
	pending := 0
	for _, s := range states {
		if s.Applied.IsZero() {
			pending++
			p.say("pending: %s", s.Name)
		}
	}
	if pending == 0 {
		p.say("the schema is up to date; nothing was pending")
		return nil
	}
	if err := migrations.Up(c.Context(), cfg.DirectURL()); err != nil {
		return fmt.Errorf("%w; 'culvert migrate status' shows the applied migrations", hinted(err))
	}
	p.say("the schema is up to date; %d migrations were applied", pending)
	return nil
}

func (p *process) migrateStatus(c *cobra.Command, _ []string) error {
	cfg, err := p.databaseConfig(c)
	if err != nil {
		return err
	}
	states, err := p.awaitDatabase(c.Context(), &cfg.Config)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VERSION\tNAME\tAPPLIED")
	for _, s := range states {
		applied := "pending"
		if !s.Applied.IsZero() {
			applied = s.Applied.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\n", s.Version, s.Name, applied)
	}
	return table.Flush()
}
