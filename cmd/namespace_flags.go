package cmd

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/queue"
)

// defaultText, as a value, leaves a setting to the server.
const defaultText = "default"

// namespaceFlags are the settings of a namespace as text.
type namespaceFlags struct{ text map[string]*string }

// namespaceSettings are the flags, named like the members over HTTP with - for _.
var namespaceSettings = []struct{ name, kind, help string }{
	{"retention", "duration", "how long its events are kept"},
	{"dedup", "duration", "how long its idempotency keys are remembered"},
	{"public", "patterns", "rooms whose full pages of history any cache may keep and show to anybody"},
	{"presence", "patterns", "rooms that are told who comes and goes"},
	{"emit-rate", "number", "events a second emitted to the namespace"},
	{"client-rate", "number", "events a second emitted by each client"},
	{"max-connections-client", "number", "streams and long polls of a client"},
	{"max-rooms-client", "number", "rooms a client may be a member of"},
}

func (f *namespaceFlags) addTo(c *cobra.Command) *cobra.Command {
	f.text = map[string]*string{}
	for _, s := range namespaceSettings {
		f.text[s.name] = c.Flags().String(s.name, "", fmt.Sprintf("`%s`: %s; %q leaves it to the server", s.kind, s.help, defaultText))
	}
	return c
}

// given reports whether any of the flags is.
func (f *namespaceFlags) given(c *cobra.Command) bool {
	for name := range f.text {
		if c.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// apply changes the settings whose flags are given.
func (f *namespaceFlags) apply(c *cobra.Command, s *queue.NamespaceSettings) error {
	for _, setting := range namespaceSettings {
		if !c.Flags().Changed(setting.name) {
			continue
		}
		text := *f.text[setting.name]
		if text == defaultText {
			text = ""
		}
		if err := readSetting(settingNamed(s, setting.name), text); err != nil {
			return usagef(c, "--%s: %w", setting.name, err)
		}
	}
	if err := s.Check(); err != nil {
		return usagef(c, "%w", err)
	}
	return nil
}

// settingNamed is where a setting goes.
func settingNamed(s *queue.NamespaceSettings, name string) any {
	return map[string]any{
		"retention": &s.Retention, "dedup": &s.Dedup, "public": &s.Public, "presence": &s.Presence,
		"emit-rate": &s.EmitRate, "client-rate": &s.ClientRate,
		"max-connections-client": &s.MaxConnectionsClient, "max-rooms-client": &s.MaxRoomsClient,
	}[name]
}

func readSetting(to any, text string) (err error) {
	switch to := to.(type) {
	case *[]string:
		*to = list(text)
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

// settingTexts are the settings by name; empty for what is left to the server.
func settingTexts(s *queue.NamespaceSettings) (pairs [][2]string) {
	for _, setting := range namespaceSettings {
		text := ""
		switch v := settingNamed(s, setting.name).(type) {
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
		pairs = append(pairs, [2]string{setting.name, text})
	}
	return pairs
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
