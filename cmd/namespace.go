package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/cmd/usage"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

func (p *process) namespaceCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "namespace",
		Short: "Make, change and delete namespaces in the database",
		Long: `Manages namespaces, which share a database but no rooms, clients or events. A namespace
is also made by its first use. Changes take effect on every running server within a second.

The database is that of --listen-database-url or, without it, of --database-url.`,
		Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var create, set namespaceFlags
	var yes bool
	const name = "namespace"
	for _, sub := range []*cobra.Command{
		create.addTo(&cobra.Command{
			Use: "create NAME", Short: "Make a namespace", Args: usage.OneArg(name),
			Example: `  culvert namespace create shop --retention 720h --public 'news-*'`,
			RunE:    func(c *cobra.Command, args []string) error { return p.namespaceCreate(c, args[0], &create) },
		}),
		set.addTo(&cobra.Command{
			Use: "set NAME", Short: "Change settings of a namespace", Args: usage.OneArg(name),
			Example: `  culvert namespace set shop --emit-rate 200 --dedup default`,
			RunE:    func(c *cobra.Command, args []string) error { return p.namespaceSet(c, args[0], &set) },
		}),
		{
			Use: "list", Short: "List the namespaces", Args: usage.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return p.namespaceList(c) },
		},
		{
			Use: "show NAME", Short: "Show a namespace's settings", Args: usage.OneArg(name),
			RunE: func(c *cobra.Command, args []string) error { return p.namespaceShow(c, args[0]) },
		},
		{
			Use: "delete NAME", Short: "Delete a namespace with all its events, rooms and clients", Args: usage.OneArg(name),
			RunE: func(c *cobra.Command, args []string) error { return p.namespaceDelete(c, args[0], yes) },
		},
	} {
		if sub.Name() == "delete" {
			sub.Flags().BoolVar(&yes, "yes", false, "do not ask")
		}
		config.AddSettings(sub, "database-url", "listen-database-url")
		c.AddCommand(sub)
	}
	return c
}

func (p *process) withNamespace(c *cobra.Command, name string, f func(*registry.Registry, event.Namespace) error) error {
	ns, err := event.ParseNamespace(name)
	if err != nil {
		return usage.Errorf(c, "%w", err)
	}
	return p.withRegistry(c, fmt.Sprintf("namespace %q", name), func(r *registry.Registry) error { return f(r, ns) })
}

func (p *process) namespaceCreate(c *cobra.Command, name string, f *namespaceFlags) error {
	var settings registry.NamespaceSettings
	if err := f.apply(c, &settings); err != nil {
		return err
	}
	return p.withNamespace(c, name, func(r *registry.Registry, ns event.Namespace) error {
		if _, err := r.Namespace(c.Context(), ns); !errors.Is(err, event.ErrNotFound) {
			if err == nil {
				err = fmt.Errorf("namespace %q exists already; 'culvert namespace set' changes it", name)
			}
			return err
		}
		_, err := r.PutNamespace(c.Context(), ns, settings)
		if err == nil {
			p.say("namespace %s was made", name)
		}
		return err
	})
}

func (p *process) namespaceSet(c *cobra.Command, name string, f *namespaceFlags) error {
	if !f.given(c) {
		return usage.Errorf(c, "give at least one setting")
	}
	return p.withNamespace(c, name, func(r *registry.Registry, ns event.Namespace) error {
		s, err := r.SetNamespace(c.Context(), ns, func(s *registry.NamespaceSettings) error { return f.apply(c, s) })
		if err == nil {
			p.showNamespace(s)
		}
		return err
	})
}

func (p *process) namespaceList(c *cobra.Command) error {
	return p.withRegistry(c, "namespace", func(r *registry.Registry) error {
		all, err := r.Namespaces(c.Context())
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "NAMESPACE\tCREATED\tSETTINGS")
		for _, s := range all {
			var set []string
			for _, pair := range settingTexts(&s.Settings) {
				if pair[1] != "" {
					set = append(set, pair[0]+"="+pair[1])
				}
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", s.Namespace, s.CreatedAt.UTC().Format(time.RFC3339), orDash(strings.Join(set, " ")))
		}
		return table.Flush()
	})
}

func (p *process) namespaceShow(c *cobra.Command, name string) error {
	return p.withNamespace(c, name, func(r *registry.Registry, ns event.Namespace) error {
		s, err := r.Namespace(c.Context(), ns)
		if err == nil {
			p.showNamespace(s)
		}
		return err
	})
}

func (p *process) showNamespace(s registry.NamespaceState) {
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "namespace\t%s\ncreated\t%s\n", s.Namespace, s.CreatedAt.UTC().Format(time.RFC3339))
	for _, pair := range settingTexts(&s.Settings) {
		if pair[1] == "" {
			pair[1] = defaultText
		}
		fmt.Fprintf(table, "%s\t%s\n", pair[0], pair[1])
	}
	_ = table.Flush()
}

func (p *process) namespaceDelete(c *cobra.Command, name string, yes bool) error {
	if !yes {
		if !isTerminal(p.stdin) {
			return usage.Errorf(c, "this deletes all events, rooms and clients of the namespace: add --yes to confirm")
		}
		if err := p.confirm(c.Context(), "Delete namespace "+name+" with all its events, rooms and clients?"); err != nil {
			return err
		}
	}
	return p.withNamespace(c, name, func(r *registry.Registry, ns event.Namespace) error {
		err := r.DeleteNamespace(c.Context(), ns)
		if err == nil {
			p.say("namespace %s was deleted", name)
		}
		return err
	})
}

// confirm asks the person at the terminal. Any answer but yes means no.
func (p *process) confirm(ctx context.Context, question string) error {
	fmt.Fprintf(p.stderr, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // ends when a line arrives, or else with the process
		line, _ := bufio.NewReader(p.stdin).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case line := <-answer:
		if line == "y" || line == "yes" {
			return nil
		}
	}
	return errors.New("nothing was deleted")
}

// defaultText is the value that leaves a setting to the server.
const defaultText = "default"

// namespaceFlags are the settings of a namespace as text.
type namespaceFlags struct{ text map[string]*string }

func (f *namespaceFlags) addTo(c *cobra.Command) *cobra.Command {
	f.text = map[string]*string{}
	for _, s := range registry.AllSettings() {
		f.text[s.Flag()] = c.Flags().String(s.Flag(), "", fmt.Sprintf("`%s`: %s; %q means the server's own", kindOf(s), s.Help, defaultText))
	}
	return c
}

// kindOf returns what kind of value a setting's flag takes.
func kindOf(s registry.Setting) string {
	switch s.Of(&registry.NamespaceSettings{}).(type) {
	case *time.Duration:
		return "duration"
	case *[]string:
		return "patterns"
	}
	return "number"
}

// given reports whether any of these flags was given.
func (f *namespaceFlags) given(c *cobra.Command) bool {
	for name := range f.text {
		if c.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// apply changes the settings whose flags were given.
func (f *namespaceFlags) apply(c *cobra.Command, s *registry.NamespaceSettings) error {
	for _, setting := range registry.AllSettings() {
		if !c.Flags().Changed(setting.Flag()) {
			continue
		}
		text := *f.text[setting.Flag()]
		if text == defaultText {
			text = ""
		}
		if err := readSetting(setting.Of(s), text); err != nil {
			return usage.Errorf(c, "--%s: %w", setting.Flag(), err)
		}
	}
	if err := s.Check(); err != nil {
		return usage.Errorf(c, "%w", err)
	}
	return nil
}

func readSetting(to any, text string) (err error) {
	switch to := to.(type) {
	case *[]string:
		*to = config.List(text)
	case *time.Duration:
		if *to = 0; text != "" {
			if *to, err = time.ParseDuration(text); err != nil || *to <= 0 {
				return fmt.Errorf("must be a duration such as 90s, 15m or 168h, or %q", defaultText)
			}
		}
	case *float64:
		if *to = 0; text != "" {
			if *to, err = strconv.ParseFloat(text, 64); err != nil || *to <= 0 {
				return fmt.Errorf("must be a number of events a second, or %q", defaultText)
			}
		}
	case *int:
		if *to = 0; text != "" {
			if *to, err = strconv.Atoi(text); err != nil || *to <= 0 {
				return fmt.Errorf("must be a whole number from 1, or %q", defaultText)
			}
		}
	}
	return nil
}

// settingTexts returns the settings by name. The text is empty for a setting that is left to the server.
func settingTexts(s *registry.NamespaceSettings) (pairs [][2]string) {
	for _, setting := range registry.AllSettings() {
		text := ""
		switch v := setting.Of(s).(type) {
		case *[]string:
			text = printable(strings.Join(*v, ","))
		case *time.Duration:
			text = v.String()
		case *float64:
			text = strconv.FormatFloat(*v, 'f', -1, 64)
		case *int:
			text = strconv.Itoa(*v)
		}
		if text == "0" || text == "0s" {
			text = ""
		}
		pairs = append(pairs, [2]string{setting.Flag(), text})
	}
	return pairs
}
