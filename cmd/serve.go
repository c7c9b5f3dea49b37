package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/api"
	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/cmd/usage"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/web"
)

func (p *process) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Runs the server until SIGTERM or Ctrl-C. It then fails its readiness probe, tells
its clients to reconnect elsewhere, finishes requests under way and exits within
10 seconds. A second signal, at least a second later, ends it at once.

Each setting is a flag, an environment variable (CULVERT_ and the flag's name in
upper case with _) or a line of the YAML file of --config. Flags win over
the environment, the environment over the file. DATABASE_URL and PORT are
read, too. Secrets and keys can be in files: CULVERT_JWT_SECRET_FILE,
CULVERT_JWT_PUBLIC_KEY_FILE, CULVERT_API_KEYS_FILE, DATABASE_URL_FILE. 'culvert
config check' shows the result.

Without a database URL the server runs a private Postgres under --data and prints how to
connect to it. If neither an API key nor a key for tokens is configured, and no key is stored in
the database, it makes an API key and a token secret, keeps them in the data folder
and prints the API key with commands to try.`,
		Example: `  culvert serve
  culvert serve --listen :8080 --database-url postgres://culvert:secret@db:5432/culvert
  PORT=9000 CULVERT_API_KEYS_FILE=/run/secrets/keys culvert serve --config culvert.yaml`,
		Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(c.Flags(), p.environ)
			if err != nil {
				return err
			}
			err = p.serve(c.Context(), cfg)
			if errors.Is(err, context.Canceled) && c.Context().Err() != nil {
				return nil // stopped by a signal while it was starting
			}
			return err
		},
	}
	config.AddSettings(c)
	return c
}

// serve runs the server until ctx ends and it has stopped, or until it fails.
func (p *process) serve(ctx context.Context, cfg *config.Loaded) (err error) {
	log := p.logger(&cfg.Config)
	for _, warning := range cfg.Warnings {
		log.Warn(warning)
	}
	// The ports come first: if one is taken, the error should not have to wait for a database.
	s, err := listen(&cfg.Config, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if s.postgres, err = p.startPostgres(ctx, &cfg.Config, log); err != nil {
		return err
	}
	if err := p.prepareDatabase(ctx, &cfg.Config, log); err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.queue, err = openQueue(ctx, &cfg.Config, log, registry); err != nil {
		return err
	}
	generated, err := cfg.GenerateSecrets(!s.queue.Registry().HasKeys())
	if err != nil {
		return err
	}
	options := cfg.Options()
	options.Logger, options.Registerer = log, registry
	if cfg.Demo {
		if options.Demo, err = demo(ctx, &cfg.Config, s.queue, log); err != nil {
			return err
		}
	}
	if s.handler, err = api.New(s.queue, options); err != nil {
		return err
	}
	s.start(api.Admin(registry))
	if generated {
		p.tour(&cfg.Config, s.url())
	}
	fmt.Fprintf(p.stderr, "ready %s\n", s.url())
	if cfg.Demo {
		p.say("the chat is at %s%s", s.url(), web.Prefix)
	}
	log.Info("serving", "listen", s.api.Addr().String(), "admin", s.adminAddress())
	return s.run(ctx)
}

// openQueue opens the log. It does not try again, since the database has just answered.
func openQueue(ctx context.Context, cfg *config.Config, log *slog.Logger, registry prometheus.Registerer) (*queue.Queue, error) {
	q, err := queue.Open(ctx, queue.Options{
		DatabaseURL:     cfg.DatabaseURL,
		ListenURL:       cfg.ListenDatabaseURL,
		MaxConns:        cfg.MaxConnections,
		PollOnly:        cfg.PollOnly,
		Poll:            cfg.Poll,
		Retention:       cfg.Retention,
		RetentionEvents: cfg.RetentionEvents,
		Slice:           cfg.Slice,
		SliceEvents:     cfg.SliceEvents,
		DedupWindow:     cfg.DedupWindow,
		SessionIdle:     cmp.Or(cfg.SessionIdle, -1),
		Logger:          log,
		Registerer:      registry,
	})
	if err != nil {
		return nil, hinted(err)
	}
	return q, nil
}

// tour prints the API key that was generated, and commands to try. No other key is ever printed.
func (p *process) tour(cfg *config.Config, url string) {
	key := cfg.APIKeys[0]
	fmt.Fprintf(p.stderr, `
No API key and no token secret is configured, so culvert made both; they are kept
in %[1]s. The API key is

  %[2]s

Follow as the client alice, by Server-Sent Events:

  curl -N -H 'Authorization: Bearer %[2]s' -H 'Accept: text/event-stream' '%[3]s/v1/default/events?client=alice'

Follow as the client bob, by long polling:

  curl -H 'Authorization: Bearer %[2]s' '%[3]s/v1/default/events?client=bob&wait=25'

Emit an event to everyone:

  curl -H 'Authorization: Bearer %[2]s' -H 'Content-Type: application/json' -d '{"event":"greeting","data":{"text":"hi"}}' '%[3]s/v1/default/emit'

`, cfg.Data, key, url)
}
