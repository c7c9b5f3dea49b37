package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/cmd/usage"
)

// healthPatience bounds a health check: orchestrators count a slow one as failed.
const healthPatience = 3 * time.Second

func (p *process) healthcheckCommand() *cobra.Command {
	var live bool
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the server on this machine whether it is ready",
		Long: `Asks /readyz of the server on this machine, and exits within 3 seconds: with 0 if
the server is ready, with 1 if not. It finds the server by the server's own
settings: CULVERT_LISTEN, PORT, the configuration file. An image without a shell
can use it as its health check.`,
		Example: `  culvert healthcheck
  culvert healthcheck --live --listen :9000`,
		Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.healthcheck(c, live) },
	}
	c.Flags().BoolVar(&live, "live", false, "ask /livez, which only says whether the process runs, and does not depend on Postgres")
	config.AddSettings(c, "listen")
	return c
}

func (p *process) healthcheck(c *cobra.Command, live bool) error {
	cfg, err := config.Load(c.Flags(), p.environ)
	if err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(cfg.Listen); err == nil && port == "0" {
		return errors.New("the server listens on a port that the system chooses (port 0): give the real one with --listen")
	}
	path := "/readyz"
	if live {
		path = "/livez"
	}
	ctx, cancel := context.WithTimeout(c.Context(), healthPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, localURL(cfg.Listen)+path, nil)
	if err != nil {
		return err
	}
	// No proxy, even if the environment names one: the server is on this machine.
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		return fmt.Errorf("not healthy: %s answers %s: %s", path, resp.Status, printable(string(said)))
	}
	return nil
}
