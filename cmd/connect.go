package cmd

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	culvert "github.com/culvertmq/culvert/clients/go"
	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/cmd/usage"
)

const defaultURL = "http://127.0.0.1:8080"

// clientFlags are the flags that emit and listen share.
type clientFlags struct {
	url, token, tokenFile, namespace, client, data string
}

func (f *clientFlags) add(c *cobra.Command, clientHelp string) {
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.url, "url", "", "URL of the server (or set "+config.EnvURL+"; default "+defaultURL+")")
	flags.StringVar(&f.token, "token", "", "token or API key (or set "+config.EnvToken+"; default: the API key that a server on this machine made)")
	flags.StringVar(&f.tokenFile, "token-file", "", "file that holds the token (or set "+config.EnvToken+config.FileSuffix+")")
	flags.StringVar(&f.data, "data", "", "data folder with the API key that a server on this machine made (or set CULVERT_DATA)")
	flags.StringVar(&f.namespace, "namespace", "", "namespace (or set "+config.EnvNamespace+`; default "default")`)
	flags.StringVar(&f.client, "client", "", clientHelp+" (or set "+config.EnvClient+")")
}

// fill sets the flags that were not given from the environment.
func (f *clientFlags) fill(p *process) {
	for _, from := range []struct {
		flag          *string
		variable, def string
	}{
		{&f.url, config.EnvURL, defaultURL},
		{&f.namespace, config.EnvNamespace, "default"},
		{&f.client, config.EnvClient, ""},
		{&f.data, config.EnvPrefix + "DATA", ""},
	} {
		*from.flag = cmp.Or(*from.flag, config.Getenv(p.environ, from.variable), from.def)
	}
	if f.token == "" && f.tokenFile == "" {
		f.token, f.tokenFile = config.Getenv(p.environ, config.EnvToken), config.Getenv(p.environ, config.EnvToken+config.FileSuffix)
	}
}

// dial completes the flags and makes a client from them and the options.
func (p *process) dial(c *cobra.Command, f clientFlags, o culvert.Options) (*culvert.Client, error) {
	f.fill(p)
	u, err := url.Parse(f.url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usage.Errorf(c, "--url is %q, but must be like %s", f.url, defaultURL)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, usage.Errorf(c, "--url must have neither credentials nor a query; give the token with --token")
	}
	if o.Token, err = p.findToken(f, u); err != nil {
		return nil, err
	}
	o.Namespace, o.Client = f.namespace, f.client
	return culvert.Dial(c.Context(), f.url, o)
}

// findToken returns the given token or, for a server on this machine, the API key that the server made. That
// key is never sent to another machine.
func (p *process) findToken(f clientFlags, server *url.URL) (string, error) {
	switch {
	case f.token != "" && f.tokenFile != "":
		return "", fmt.Errorf("both a token and a token file are given: leave one of them out")
	case f.token != "":
		return f.token, nil
	case f.tokenFile != "":
		content, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return "", fmt.Errorf("token file: %w", err)
		}
		return strings.TrimSpace(string(content)), nil
	}
	ip := net.ParseIP(server.Hostname())
	if server.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", nil
	}
	folder := cmp.Or(f.data, config.DefaultDataFolder(p.environ))
	key, err := config.ReadSecret(filepath.Join(folder, config.APIKeyFile))
	if err != nil {
		return "", nil // the server will say that a token is needed
	}
	return key, nil
}

// hopeless reports errors at which a command stops, though the client would try again: what answers at that URL
// is not Culvert, so the person at the terminal must do something.
func hopeless(err error) bool {
	var p *culvert.Problem
	var certificate *tls.CertificateVerificationError
	if !errors.As(err, &p) {
		return errors.As(err, &certificate)
	}
	return p.Foreign && p.Status < http.StatusInternalServerError &&
		p.Status != http.StatusTooManyRequests && p.Status != http.StatusRequestTimeout
}

// explained is an error of the client with a hint for the person at the terminal.
type explained struct {
	error
	text string
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.error }

// explain adds such a hint to errors that are answers of servers.
func explain(err error) error {
	var p *culvert.Problem
	if !errors.As(err, &p) {
		return err
	}
	text := printable(err.Error())
	switch {
	case p.Status == http.StatusUnauthorized && !p.Temporary():
		text += "; give a token or API key with --token, --token-file or " + config.EnvToken
	case p.Status == http.StatusNotFound:
		text += "; check --url and --namespace"
	case p.Foreign && p.Status < http.StatusMultipleChoices:
		text += "; check --url"
	}
	return &explained{err, text}
}
