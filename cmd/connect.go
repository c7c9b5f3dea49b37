package cmd

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	culvert "github.com/culvertmq/culvert/clients/go"
)

const defaultURL = "http://127.0.0.1:8080"

// clientFlags are the flags emit and listen share.
type clientFlags struct {
	url, token, tokenFile, namespace, client, data string
}

func (f *clientFlags) add(c *cobra.Command, clientHelp string) {
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.url, "url", "", "server, also from "+envURL+" (default "+defaultURL+")")
	flags.StringVar(&f.token, "token", "", "token or API key, also from "+envToken+" (default: the key that the server on this machine made)")
	flags.StringVar(&f.tokenFile, "token-file", "", "file that holds the token, also from "+envToken+fileSuffix)
	flags.StringVar(&f.data, "data", "", "data folder of the server on this machine, for the key it made, also from CULVERT_DATA")
	flags.StringVar(&f.namespace, "namespace", "", "namespace, also from "+envNamespace+` (default "default")`)
	flags.StringVar(&f.client, "client", "", clientHelp+", also from "+envClient)
}

// fill takes from the environment what no flag gave.
func (f *clientFlags) fill(p *process) {
	for _, from := range []struct {
		flag          *string
		variable, def string
	}{
		{&f.url, envURL, defaultURL},
		{&f.namespace, envNamespace, "default"},
		{&f.client, envClient, ""},
		{&f.data, envPrefix + "DATA", ""},
	} {
		*from.flag = cmp.Or(*from.flag, getenv(p.environ, from.variable), from.def)
	}
	if f.token == "" && f.tokenFile == "" {
		f.token, f.tokenFile = getenv(p.environ, envToken), getenv(p.environ, envToken+fileSuffix)
	}
}

// dial completes the flags and makes a client of them and of the options.
func (p *process) dial(c *cobra.Command, f clientFlags, o culvert.Options) (*culvert.Client, error) {
	f.fill(p)
	u, err := url.Parse(f.url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usagef(c, "--url is %q, but must be like %s", f.url, defaultURL)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, usagef(c, "--url must hold neither credentials nor a query; give the token with --token")
	}
	if o.Token, err = p.findToken(f, u); err != nil {
		return nil, err
	}
	o.Namespace, o.Client = f.namespace, f.client
	return culvert.Dial(c.Context(), f.url, o)
}

// findToken returns the token given or, for a server on this machine, the API
// key it made. That key is not sent to any other machine.
func (p *process) findToken(f clientFlags, server *url.URL) (string, error) {
	switch {
	case f.token != "" && f.tokenFile != "":
		return "", fmt.Errorf("a token and a token file are given: leave one of them out")
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
	folder := cmp.Or(f.data, defaultDataFolder(p.environ))
	key, err := readSecret(filepath.Join(folder, apiKeyFile))
	if err != nil {
		return "", nil // the server will say that a token is needed
	}
	return key, nil
}

// say tells the person at the terminal something, on standard error.
func (p *process) say(format string, args ...any) {
	fmt.Fprintf(p.stderr, "culvert: "+format+"\n", args...)
}
