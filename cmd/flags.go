package cmd

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagText is a flag that takes any text, for a setting that is read and
// checked together with its other sources.
type flagText struct{ text, kind string }

func (f *flagText) String() string { return f.text }
func (f *flagText) Type() string   { return f.kind }
func (f *flagText) Set(s string) error {
	f.text = s
	return nil
}

// addSettings gives a command the flags of the settings named, all of them when
// none is, and --config.
func addSettings(c *cobra.Command, names ...string) {
	for _, s := range settings {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		f := c.Flags().VarPF(&flagText{s.def, s.kind}, s.name, "", s.help)
		if s.kind == "bool" {
			f.NoOptDefVal = "true"
		}
	}
	c.Flags().Var(&flagText{kind: "file"}, configFlag, "YAML file with settings, one 'name: value' a line, named like the flags")
	c.Flags().SortFlags = false
}

var _ pflag.Value = (*flagText)(nil)
