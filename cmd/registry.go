package cmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
)

// withRegistry runs f with the registry of the database that the flags of c name. what names the object of the
// command; the error says so if it does not exist.
func (p *process) withRegistry(c *cobra.Command, what string, f func(*registry.Registry) error) error {
	cfg, err := p.databaseConfig(c)
	if err != nil {
		return err
	}
	if _, err := p.awaitDatabase(c.Context(), &cfg.Config); err != nil {
		return err
	}
	r, err := queue.OpenRegistry(c.Context(), queue.Options{DatabaseURL: cfg.DirectURL(), Logger: p.logger(&cfg.Config)})
	if err != nil {
		return oneLine(err)
	}
	defer r.Close()
	err = f(r)
	if errors.Is(err, event.ErrNotFound) {
		return fmt.Errorf("there is no %s", what)
	}
	return err
}
