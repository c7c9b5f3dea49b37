package config

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// FlagText is a flag that takes any text. The setting is checked later, together with its other sources.
type FlagText struct{ text, kind string }

// String returns the text.
func (f *FlagText) String() string { return f.text }

// Type implements pflag.Value. The help shows it.
func (f *FlagText) Type() string { return f.kind }

// Set implements pflag.Value. It accepts any text.
func (f *FlagText) Set(s string) error {
	f.text = s
	return nil
}

// AddSettings adds to a command the flags of the named settings (of all if none is named), and --config.
func AddSettings(c *cobra.Command, names ...string) {
	for _, s := range Settings {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		f := c.Flags().VarPF(&FlagText{s.def, s.kind}, s.Name, "", s.help)
		if s.kind == "bool" {
			f.NoOptDefVal = "true"
		}
	}
	c.Flags().Var(&FlagText{kind: "file"}, configFlag, "YAML file with settings, one 'name: value' a line, named like the flags")
	c.Flags().SortFlags = false
}

var _ pflag.Value = (*FlagText)(nil)
