package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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
		Short: "Make, set and delete namespaces in the database",
		Long: `Looks after namespaces: isolated logs in one database. They are also made by
their first use; what is set here reaches every running server within a second.

Of --listen-database-url and --database-url the first one given is used.`,
		Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var create, set namespaceFlags
	var yes bool
	const name = "namespace"
	for _, sub := range []*cobra.Command{
		create.addTo(&cobra.Command{
			Use: "create NAME", Short: "Make a namespace", Args: oneArg(name),
			Example: `  culvert namespace create shop --retention 720h --public 'news-*'`,
			RunE:    func(c *cobra.Command, args []string) error { return p.namespaceCreate(c, args[0], &create) },
		}),
		set.addTo(&cobra.Command{
			Use: "set NAME", Short: "Change settings of a namespace", Args: oneArg(name),
			Example: `  culvert namespace set shop --emit-rate 200 --dedup default`,
			RunE:    func(c *cobra.Command, args []string) error { return p.namespaceSet(c, args[0], &set) },
		}),
		{
			Use: "list", Short: "List the namespaces", Args: usage.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return p.namespaceList(c) },
		},
		{
			Use: "show NAME", Short: "Show a namespace's settings", Args: oneArg(name),
			RunE: func(c *cobra.Command, args []string) error { return p.namespaceShow(c, args[0]) },
		},
		{
			Use: "delete NAME", Short: "Close a namespace for good, with all its events, rooms and clients", Args: oneArg(name),
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
				err = fmt.Errorf("namespace %q is there already; 'culvert namespace set' changes it", name)
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
		return usage.Errorf(c, "name at least one setting")
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

// confirm asks the person at the terminal; anything but yes is a no.
func (p *process) confirm(ctx context.Context, question string) error {
	fmt.Fprintf(p.stderr, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // ends with the line, or with the process when nobody answers
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
