package cmd

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/cmd/usage"
)

func (p *process) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Inspect the server's settings",
		Args:  usage.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	check := &cobra.Command{
		Use:   "check",
		Short: "Check the server's settings and show where each one comes from",
		Long: `Reads the settings as 'culvert serve' would, from the same flags, environment and
file, and prints each one with its source. Secrets are masked. If the server would
not start with these settings, it exits with 1 and says what is wrong.`,
		Example: `  culvert config check
  PORT=9000 culvert config check --config culvert.yaml`,
		Args: usage.NoArgs,
		RunE: p.configCheck,
	}
	config.AddSettings(check)
	c.AddCommand(check)
	return c
}

func (p *process) configCheck(c *cobra.Command, _ []string) error {
	cfg, err := config.Load(c.Flags(), p.environ)
	if err != nil {
		return err
	}
	for _, warning := range cfg.Warnings {
		p.say("warning: %s", warning)
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tSOURCE")
	for _, s := range config.Settings {
		v := cfg.Values[s.Name]
		shown := s.Shown(v.Text)
		if shown == "" {
			shown = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Name, printable(shown), v.Source)
	}
	return table.Flush()
}
