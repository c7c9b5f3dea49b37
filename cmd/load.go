package cmd

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

// configFlag names the configuration file; it is no setting itself.
const configFlag = "config"

// value is a setting's text and where it came from.
type value struct {
	text   string
	source string
}

// loaded is the configuration with what is worth telling about it.
type loaded struct {
	Config
	values   map[string]value // by name of the setting
	warnings []string
}

// load reads the settings from flags, environment and configuration file, in
// this order of precedence, checks all of them and names every one at fault.
func load(flags *pflag.FlagSet, environ []string) (*loaded, error) {
	l := &loaded{values: map[string]value{}}
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
		l.values[name] = v
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
	l.warnings = env.warnings
	if l.Data == "" {
		l.Data = defaultDataFolder(environ)
		l.values["data"] = value{l.Data, "default"}
	}
	return l, l.check()
}

func defaults() map[string]any {
	m := map[string]any{}
	for _, s := range settings {
		m[s.name] = s.def
	}
	return m
}

// loadFile reads the file of --config or CULVERT_CONFIG. A key that is no
// setting is an error: a typing mistake there would go unnoticed for long.
func (l *loaded) loadFile(flags *pflag.FlagSet, env environment) error {
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
			return fmt.Errorf("configuration file %s: there is no setting %q; 'culvert config check' lists those there are", path, key)
		}
		l.values[key] = value{text(k.Get(key)), "file " + path}
	}
	return nil
}

// merge takes over what a provider holds, above what is there.
func (l *loaded) merge(from koanf.Provider, source func(name string) string) error {
	k := koanf.New(".")
	if err := k.Load(from, nil); err != nil {
		return err
	}
	for _, name := range k.Keys() {
		l.values[name] = value{text(k.Get(name)), source(name)}
	}
	return nil
}

// text is a value of YAML as a flag would give it.
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

// parse fills the Config. An empty text means the default, unless the setting
// gives it a meaning of its own.
func (l *loaded) parse() error {
	var faults []string
	for _, s := range settings {
		v := l.values[s.name]
		if v.text == "" && !s.blank {
			v.text = s.def
		}
		if v.text == "" && !s.blank {
			continue
		}
		l.values[s.name] = v
		if err := s.set(&l.Config, v.text); err != nil {
			faults = append(faults, s.fault(v, err))
		}
	}
	return join(faults)
}

// fault says which setting is wrong, why, and where its value came from.
func (s setting) fault(v value, err error) string {
	if s.secret {
		return fmt.Sprintf("%s (from %s) %v", s.name, v.source, err)
	}
	return fmt.Sprintf("%s is %q (from %s), but %v", s.name, v.text, v.source, err)
}

// check looks at what depends on several settings.
func (l *loaded) check() error {
	var faults []string
	if l.Retention < l.Slice {
		faults = append(faults, fmt.Sprintf("retention (%v) must be at least one slice (%v): raise it or make --slice shorter", l.Retention, l.Slice))
	}
	if l.Listen == l.AdminListen && !strings.HasSuffix(l.Listen, ":0") {
		faults = append(faults, fmt.Sprintf("listen and admin-listen are both %s: give one another port, or turn the second off with --admin-listen ''", l.Listen))
	}
	// Without any key serve makes a secret of its own, and api checks the rest.
	if l.takesTokens() {
		if err := l.options().CheckTokens(); err != nil {
			faults = append(faults, err.Error())
		}
	}
	if err := l.options().CheckSecrets(); err != nil {
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
