package cmd

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/culvertmq/culvert/cmd/config"
	"github.com/culvertmq/culvert/cmd/usage"
	"github.com/culvertmq/culvert/queue/registry"
)

// defaultText, as a value, leaves a setting to the server.
const defaultText = "default"

// namespaceFlags are the settings of a namespace as text.
type namespaceFlags struct{ text map[string]*string }

func (f *namespaceFlags) addTo(c *cobra.Command) *cobra.Command {
	f.text = map[string]*string{}
	for _, s := range registry.AllSettings() {
		f.text[s.Flag()] = c.Flags().String(s.Flag(), "", fmt.Sprintf("`%s`: %s; %q leaves it to the server", kindOf(s), s.Help, defaultText))
	}
	return c
}

// kindOf is what a setting's flag takes.
func kindOf(s registry.Setting) string {
	switch s.Of(&registry.NamespaceSettings{}).(type) {
	case *time.Duration:
		return "duration"
	case *[]string:
		return "patterns"
	}
	return "number"
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

// settingTexts are the settings by name; empty for what is left to the server.
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

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
