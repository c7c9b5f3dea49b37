package cmd

import (
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

// keyFlags are the flags of key create and key rotate.
type keyFlags struct {
	label      string
	namespaces []string
	ttl, grace time.Duration
}

func (p *process) keyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Make, list, rotate and revoke stored API keys",
		Long: `Manages API keys in the database. They are valid in addition to those of --api-keys.
Only digests are stored: a key is shown once, when it is made. Changes
take effect on every running server within a second; streams of a revoked key end.

The database is that of --listen-database-url or, without it, of --database-url.`,
		Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var f keyFlags
	create := &cobra.Command{
		Use: "create", Short: "Make a key and print it", Args: usage.NoArgs,
		Example: `  culvert key create --label 'shop backend' --namespaces shop`,
		RunE:    func(c *cobra.Command, _ []string) error { return p.keyCreate(c, f) },
	}
	create.Flags().StringVar(&f.label, "label", "", "a note that says what the key is for")
	create.Flags().StringSliceVar(&f.namespaces, "namespaces", nil, "namespaces that the key may use (default all)")
	create.Flags().DurationVar(&f.ttl, "ttl", 0, "how long the key is valid (default for ever)")
	list := &cobra.Command{
		Use: "list", Short: "List the keys", Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.keyList(c) },
	}
	rotate := &cobra.Command{
		Use: "rotate ID", Short: "Give a key a new secret, and print the new key", Args: usage.OneArg("key's id"),
		Example: `  culvert key rotate 3f9a1c20be --grace 1h`,
		RunE:    func(c *cobra.Command, args []string) error { return p.keyRotate(c, args[0], f.grace) },
	}
	rotate.Flags().DurationVar(&f.grace, "grace", 0, "how long the old secret stays valid")
	revoke := &cobra.Command{
		Use: "revoke ID", Short: "Make a key invalid", Args: usage.OneArg("key's id"),
		RunE: func(c *cobra.Command, args []string) error { return p.keyRevoke(c, args[0]) },
	}
	for _, sub := range []*cobra.Command{create, list, rotate, revoke} {
		config.AddSettings(sub, "database-url", "listen-database-url")
		c.AddCommand(sub)
	}
	return c
}

func (p *process) keyCreate(c *cobra.Command, f keyFlags) error {
	k := registry.APIKey{Label: f.label}
	for _, name := range f.namespaces {
		ns, err := event.ParseNamespace(name)
		if err != nil {
			return usage.Errorf(c, "--namespaces: %w", err)
		}
		k.Namespaces = append(k.Namespaces, ns)
	}
	switch {
	case c.Flags().Changed("namespaces") && len(k.Namespaces) == 0:
		return usage.Errorf(c, "--namespaces is empty; leave it out for a key to all namespaces")
	case f.ttl < 0, f.ttl == 0 && c.Flags().Changed("ttl"): // a 0 that a script computed must not mean for ever
		return usage.Errorf(c, "--ttl must be longer than 0")
	case f.ttl > 0:
		k.ExpiresAt = time.Now().Add(f.ttl)
	}
	return p.withRegistry(c, "key", func(r *registry.Registry) error {
		k, token, err := r.CreateKey(c.Context(), k)
		if err != nil {
			return err
		}
		return p.showToken(k.ID, token)
	})
}

// showToken prints only the token on standard output, for scripts.
func (p *process) showToken(id, token string) error {
	p.say("the key is shown only this once; its id is %s", id)
	_, err := fmt.Fprintln(p.stdout, token)
	return err
}

func (p *process) keyRotate(c *cobra.Command, id string, grace time.Duration) error {
	if grace < 0 {
		return usage.Errorf(c, "--grace must not be negative")
	}
	return p.withRegistry(c, fmt.Sprintf("key %q, or it was revoked", id), func(r *registry.Registry) error {
		token, err := r.RotateKey(c.Context(), id, grace)
		if err != nil {
			return err
		}
		return p.showToken(id, token)
	})
}

func (p *process) keyRevoke(c *cobra.Command, id string) error {
	return p.withRegistry(c, fmt.Sprintf("key %q", id), func(r *registry.Registry) error {
		err := r.RevokeKey(c.Context(), id)
		if err == nil {
			p.say("key %s was revoked", id)
		}
		return err
	})
}

func (p *process) keyList(c *cobra.Command) error {
	return p.withRegistry(c, "key", func(r *registry.Registry) error {
		keys, err := r.Keys(c.Context())
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tSTATE\tNAMESPACES\tCREATED\tEXPIRES\tLABEL")
		for _, k := range keys {
			var names []string
			for _, ns := range k.Namespaces {
				names = append(names, ns.String())
			}
			if k.Namespaces == nil {
				names = []string{"(all)"}
			}
			state, expires := "valid", "never"
			if !k.ExpiresAt.IsZero() {
				expires = k.ExpiresAt.UTC().Format(time.RFC3339)
				if k.ExpiresAt.Before(time.Now()) {
					state = "expired"
				}
			}
			if !k.RevokedAt.IsZero() {
				state = "revoked"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, state, strings.Join(names, ","),
				k.CreatedAt.UTC().Format(time.RFC3339), expires, orDash(printable(k.Label)))
		}
		return table.Flush()
	})
}
