package cmd

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func (p *process) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Look at the server's settings",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	check := &cobra.Command{
		Use:   "check",
		Short: "Check the server's settings and show where each one comes from",
		Long: `Reads the settings as 'culvert serve' would, from the same flags, environment and
file, and prints each one with its source. Secrets are masked. It exits with 1
and names what is wrong when the server would not start with them.`,
		Example: `  culvert config check
  PORT=9000 culvert config check --config culvert.yaml`,
		Args: noArgs,
		RunE: p.configCheck,
	}
	addSettings(check)
	c.AddCommand(check)
	return c
}

func (p *process) configCheck(c *cobra.Command, _ []string) error {
	cfg, err := load(c.Flags(), p.environ)
	if err != nil {
		return err
	}
	for _, warning := range cfg.warnings {
		p.say("warning: %s", warning)
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tSOURCE")
	for _, s := range settings {
		v := cfg.values[s.name]
		shown := s.shown(v.text)
		if shown == "" {
			shown = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.name, printable(shown), v.source)
	}
	return table.Flush()
}
