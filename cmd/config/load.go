package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// configFlag is the flag of the configuration file. It is not itself a setting.
const configFlag = "config"

// Loaded is the configuration, with the source of each value and warnings.
type Loaded struct {
	Config
	Values   map[string]Value // by name of the setting
	Warnings []string
}

// Load reads the settings from flags, environment and configuration file, in this order of precedence, and
// checks all of them. Its error names every setting that is wrong.
func Load(flags *pflag.FlagSet, environ []string) (*Loaded, error) {
	l := &Loaded{Values: map[string]Value{}}
	if err := l.merge(confmap.Provider(defaults(), ""), func(string) string { return "default" }); err != nil {
		return nil, err
	}
	env, err := readEnvironment(environ)
	if err != nil {
		return nil, err
	}
	if err := l.loadFile(flags, env); err != nil {
		return nil, err
	}
	for name, v := range env.values {
		l.Values[name] = v
	}
	changed := posflag.ProviderWithFlag(flags, "", nil, func(f *pflag.Flag) (string, any) {
		if _, ok := lookup(f.Name); !ok || !f.Changed {
			return "", nil
		}
		return f.Name, f.Value.String()
	})
	if err := l.merge(changed, func(name string) string { return "flag --" + name }); err != nil {
		return nil, err
	}
	if err := l.parse(); err != nil {
		return nil, err
	}
	l.Warnings = env.warnings
	if l.Data == "" {
		l.Data = DefaultDataFolder(environ)
		l.Values["data"] = Value{l.Data, "default"}
	}
	return l, l.check()
}

func defaults() map[string]any {
	m := map[string]any{}
	for _, s := range Settings {
		m[s.Name] = s.def
	}
	return m
}

// loadFile reads the file of --config or CULVERT_CONFIG. An unknown key is an error: otherwise a misspelled key
// might go unnoticed for long.
func (l *Loaded) loadFile(flags *pflag.FlagSet, env environment) error {
	path := env.config
	if f := flags.Lookup(configFlag); f != nil && f.Changed {
		path = f.Value.String()
	}
	if path == "" {
		return nil
	}
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	for _, key := range k.Keys() {
		if _, ok := lookup(key); !ok {
			return fmt.Errorf("configuration file %s: there is no setting %q; 'culvert config check' lists all settings", path, key)
		}
		l.Values[key] = Value{text(k.Get(key)), "file " + path}
	}
	return nil
}

// merge adds the settings of a provider; they replace earlier ones.
func (l *Loaded) merge(from koanf.Provider, source func(name string) string) error {
	k := koanf.New(".")
	if err := k.Load(from, nil); err != nil {
		return err
	}
	for _, name := range k.Keys() {
		l.Values[name] = Value{text(k.Get(name)), source(name)}
	}
	return nil
}

// text returns a YAML value as the text that a flag would have.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = text(v[i])
		}
		return strings.Join(parts, ",")
	default:
		return fmt.Sprint(v)
	}
}

// parse fills the Config. An empty text means the default, except for settings with blank set.
func (l *Loaded) parse() error {
	var faults []string
	for _, s := range Settings {
		v := l.Values[s.Name]
		if v.Text == "" && !s.blank {
			v.Text = s.def
		}
		if v.Text == "" && !s.blank {
			continue
		}
		l.Values[s.Name] = v
		if err := s.set(&l.Config, v.Text); err != nil {
			faults = append(faults, s.fault(v, err))
		}
	}
	return join(faults)
}

// fault says which setting is wrong, why, and where its value came from.
func (s Setting) fault(v Value, err error) string {
	if s.secret {
		return fmt.Sprintf("%s (from %s) %v", s.Name, v.Source, err)
	}
	return fmt.Sprintf("%s is %q (from %s), but %v", s.Name, v.Text, v.Source, err)
}

// check checks rules between several settings.
func (l *Loaded) check() error {
	var faults []string
	if l.Retention < l.Slice {
		faults = append(faults, fmt.Sprintf("retention (%v) must be at least one slice (%v): raise --retention or lower --slice", l.Retention, l.Slice))
	}
	if l.Listen == l.AdminListen && !strings.HasSuffix(l.Listen, ":0") {
		faults = append(faults, fmt.Sprintf("listen and admin-listen are both %s: choose another port for one of them, or turn off the second with --admin-listen ''", l.Listen))
	}
	// Without any key, serve makes its own secret; api checks the rest.
	if l.takesTokens() {
		if err := l.Options().CheckTokens(); err != nil {
			faults = append(faults, err.Error())
		}
	}
	if err := l.Options().CheckSecrets(); err != nil {
		faults = append(faults, err.Error())
	}
	return join(faults)
}

func join(faults []string) error {
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}
