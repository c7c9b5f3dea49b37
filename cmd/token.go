package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/api"
	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/cmd/usage"
)

// tokenFlags are the flags of token.
type tokenFlags struct {
	sub, iss             string
	ns, rooms, emit, aud []string
	ttl                  time.Duration
}

func (p *process) tokenCommand() *cobra.Command {
	var f tokenFlags
	c := &cobra.Command{
		Use:   "token",
		Short: "Make a token for a client",
		Long: `Makes a JWT (HS256) for one client and prints it, signed with the server's
secret: that of --jwt-secret, CULVERT_JWT_SECRET or the configuration file, or else the one that a
server made in its data folder.

A token without --rooms can only read the client's own room and *; a token without
--emit can emit nothing. In patterns * matches any run of characters.`,
		Example: `  culvert token --sub alice
  culvert token --sub alice --rooms 'chat-*,lobby' --emit lobby --ttl 24h
  culvert listen --token "$(culvert token --sub alice)"`,
		Args: usage.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.token(c, f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.sub, "sub", "", "client that the token is for (required)")
	flags.StringSliceVar(&f.ns, "ns", nil, `namespaces that the token is for (default "default")`)
	flags.StringSliceVar(&f.rooms, "rooms", nil, "patterns of rooms that the client may read")
	flags.StringSliceVar(&f.emit, "emit", nil, "patterns of rooms that the client may emit to")
	flags.StringSliceVar(&f.aud, "aud", nil, "audience of the token (default: the first of --jwt-audience)")
	flags.StringVar(&f.iss, "iss", "", "issuer of the token (default: --jwt-issuer)")
	flags.DurationVar(&f.ttl, "ttl", time.Hour, "how long the token is valid")
	config.AddSettings(c, "jwt-secret", "jwt-audience", "jwt-issuer", "allow-weak-secrets", "data")
	return c
}

func (p *process) token(c *cobra.Command, f tokenFlags) error {
	switch {
	case f.sub == "":
		return usage.Errorf(c, "--sub is missing: give the client that the token is for")
	case f.ttl <= 0:
		return usage.Errorf(c, "--ttl must be longer than 0")
	}
	cfg, err := config.Load(c.Flags(), p.environ)
	if err != nil {
		return err
	}
	if len(cfg.JWTAlgorithms) > 0 && !slices.Contains(cfg.JWTAlgorithms, "HS256") {
		return fmt.Errorf("--jwt-algorithms (%s) does not have HS256, so the server would refuse the token", strings.Join(cfg.JWTAlgorithms, ","))
	}
	secret := cfg.JWTSecret
	if secret == "" {
		path := filepath.Join(cfg.Data, config.JWTSecretFile)
		secret, err = config.ReadSecret(path)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no secret to sign with: give the server's secret with --jwt-secret or CULVERT_JWT_SECRET, or name its data folder with --data (there is none in %s)", cfg.Data)
		}
		if err != nil {
			return err
		}
	}
	claims := claimsOf(&cfg.Config, f.sub, f.ttl)
	claims.Namespaces, claims.Rooms, claims.Emit = f.ns, f.rooms, f.emit
	if f.aud != nil {
		claims.Audience = f.aud
	}
	claims.Issuer = cmp.Or(f.iss, claims.Issuer)
	token, err := api.SignToken([]byte(secret), claims)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, token)
	return err
}
