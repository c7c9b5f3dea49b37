package config

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
)

// Names of environment variables.
const (
	EnvPrefix  = "CULVERT_"
	FileSuffix = "_FILE" // names a file that holds the value, as container secrets do
)

// These variables are not settings of the server.
const (
	envConfig    = EnvPrefix + "CONFIG"
	EnvURL       = EnvPrefix + "URL"
	EnvToken     = EnvPrefix + "TOKEN"
	EnvNamespace = EnvPrefix + "NAMESPACE"
	EnvClient    = EnvPrefix + "CLIENT"
)

var otherVariables = []string{
	envConfig, EnvURL, EnvToken, EnvToken + FileSuffix, EnvNamespace, EnvClient,
	EnvPrefix + "PG_BIN", // read by internal/localpg
}

// environment has the settings that the environment gives.
type environment struct {
	values   map[string]Value
	config   string
	warnings []string
}

// readEnvironment finds the settings in CULVERT_<NAME>, DATABASE_URL and PORT,
// and secrets and keys also in the files named by <VARIABLE>_FILE.
func readEnvironment(environ []string) (environment, error) {
	e := environment{values: map[string]Value{}}
	vars, err := variables(environ)
	if err != nil {
		return e, err
	}
	e.config = vars[envConfig]
	known := slices.Clone(otherVariables)
	for _, s := range Settings {
		names := []string{s.variable()}
		if s.Name == "database-url" {
			names = append(names, "DATABASE_URL")
		}
		// The last one wins, so the more specific one comes last.
		for _, name := range slices.Backward(names) {
			if err := e.take(s, name, vars); err != nil {
				return e, err
			}
		}
		known = append(known, s.variable())
		if s.fromFile() {
			known = append(known, s.variable()+FileSuffix)
		}
	}
	if _, ok := e.values["listen"]; !ok && vars["PORT"] != "" {
		e.values["listen"] = Value{":" + vars["PORT"], "PORT"}
	}
	e.warnings = unknown(vars, known)
	return e, nil
}

// variables returns the environment variables that concern Culvert.
func variables(environ []string) (map[string]string, error) {
	vars := map[string]string{}
	read, err := env.Provider("", env.Opt{
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, v string) (string, any) {
			if strings.HasPrefix(name, EnvPrefix) || strings.HasPrefix(name, "DATABASE_URL") || name == "PORT" {
				return name, v
			}
			return "", nil
		},
	}).Read()
	for name, v := range read {
		vars[name] = fmt.Sprint(v)
	}
	return vars, err
}

// take reads one setting from one variable, or from the file that its _FILE variable names.
func (e *environment) take(s Setting, name string, vars map[string]string) error {
	v, found := vars[name]
	if found && (v != "" || s.blank) {
		e.values[s.Name] = Value{v, name}
	}
	path := vars[name+FileSuffix]
	if !s.fromFile() || path == "" {
		return nil
	}
	if v != "" {
		return fmt.Errorf("both %s and %s are set: unset one of them", name, name+FileSuffix)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", name+FileSuffix, err)
	}
	v = strings.TrimRight(string(content), "\r\n")
	if v == "" {
		return fmt.Errorf("%s: the file %s is empty", name+FileSuffix, path)
	}
	e.values[s.Name] = Value{v, name + FileSuffix}
	return nil
}

// unknown warns of variables that look like settings but are not. Kubernetes itself sets CULVERT_SERVICE_… and
// CULVERT_PORT… for a service named culvert.
func unknown(vars map[string]string, known []string) (warnings []string) {
	for name := range vars {
		if !strings.HasPrefix(name, EnvPrefix) || slices.Contains(known, name) ||
			strings.HasPrefix(name, EnvPrefix+"SERVICE_") || strings.HasPrefix(name, EnvPrefix+"PORT") {
			continue
		}
		warnings = append(warnings, fmt.Sprintf("the environment variable %s is not a setting of culvert and has no effect", name))
	}
	slices.Sort(warnings)
	return warnings
}

// Getenv returns a variable of an environment, "" if it is not set.
func Getenv(environ []string, name string) string {
	for _, pair := range slices.Backward(environ) {
		if v, ok := strings.CutPrefix(pair, name+"="); ok {
			return v
		}
	}
	return ""
}

// variable returns the environment variable of the setting.
func (s Setting) variable() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// fromFile reports whether the value can come from a file of its own.
func (s Setting) fromFile() bool { return s.secret || s.file }
