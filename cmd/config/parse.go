package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Limits of settings. The lowest ones exist for tests. The longest wait is the one that the protocol allows.
const (
	minHeartbeat = 100 * time.Millisecond
	maxHeartbeat = 10 * time.Minute
	minMaxAge    = time.Second
	maxMaxAge    = 24 * time.Hour
	minMaxWait   = time.Second
	maxMaxWait   = 50 * time.Second
	minSlice     = time.Second
	minPoll      = time.Millisecond
	maxDrain     = 5 * time.Second
	maxLeeway    = time.Minute
	minBurst     = 100 * time.Millisecond
	maxBurst     = time.Hour
	minMemory    = 4 // MiB; a body takes 2
	maxMemory    = 1 << 20
)

func setText(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = v
		return nil
	}
}

func setList(field func(*Config) *[]string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = List(v)
		return nil
	}
}

// setPublicKey reads "\n" as a line end if the value is one line: some tools can only pass one-line values.
// Load checks the key.
func setPublicKey(c *Config, v string) error {
	if !strings.Contains(v, "\n") {
		v = strings.ReplaceAll(v, `\n`, "\n")
	}
	c.JWTPublicKey = v
	return nil
}

func setBool(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return errors.New("must be true or false")
		}
		*field(c) = b
		return nil
	}
}

func setNumber[T int | int64](field func(*Config) *T, low, high int64) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < low || n > high {
			return fmt.Errorf("must be a whole number from %d to %d", low, high)
		}
		*field(c) = T(n)
		return nil
	}
}

// setMiB reads a size in MiB: 0, or enough for the largest body and page.
func setMiB(field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n != 0 && n < minMemory || n > maxMemory {
			return fmt.Errorf("must be 0 for no limit, or a whole number of MiB from %d to %d", minMemory, maxMemory)
		}
		*field(c) = n
		return nil
	}
}

// setSeconds reads a number of seconds or a Go duration.
func setSeconds(field func(*Config) *time.Duration, low, high time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			v = strconv.FormatFloat(n, 'f', -1, 64) + "s"
		}
		d, err := time.ParseDuration(v)
		if err != nil || d < low || d > high {
			return fmt.Errorf("must be seconds from %v to %v, such as 15, or a duration such as 15s",
				low.Seconds(), high.Seconds())
		}
		*field(c) = d
		return nil
	}
}

// setDuration reads a Go duration; high 0 means no upper limit.
func setDuration(field func(*Config) *time.Duration, low, high time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		d, err := time.ParseDuration(v)
		switch {
		case err != nil:
			return errors.New("must be a duration such as 90s, 15m or 168h")
		case d < low:
			return fmt.Errorf("must be at least %v", low)
		case high > 0 && d > high:
			return fmt.Errorf("must be at most %v", high)
		}
		*field(c) = d
		return nil
	}
}

func setListen(c *Config, v string) error {
	c.Listen = v
	return checkAddress(v)
}

func setAdminListen(c *Config, v string) error {
	c.AdminListen = v
	if v == "" {
		return nil
	}
	return checkAddress(v)
}

func checkAddress(v string) error {
	const want = "must be host:port, such as 127.0.0.1:8080, or :8080 for all interfaces"
	_, port, err := net.SplitHostPort(v)
	if err != nil {
		return errors.New(want)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return errors.New(want + "; the port is a number up to 65535")
	}
	return nil
}

// setDSN checks only the outline; the driver reports other errors better. Its error never contains the value,
// which may have a password.
func setDSN(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = v
		if !strings.Contains(v, "://") {
			if !strings.Contains(v, "=") {
				return errors.New("must be a URL such as postgres://user:password@host:5432/database, or key=value pairs such as host=/run/postgresql dbname=culvert")
			}
			return nil
		}
		u, err := url.Parse(v)
		if err != nil {
			return errors.New("is not a valid URL; characters such as @ : / # in a password must be percent-encoded")
		}
		if u.Scheme != "postgres" && u.Scheme != "postgresql" {
			return errors.New("must begin with postgres:// or postgresql://")
		}
		return nil
	}
}

func setAPIKeys(c *Config, v string) error {
	for _, key := range List(v) {
		if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r >= unicode.MaxASCII }) {
			return errors.New("API keys are sent in a header: they must be printable ASCII characters without blanks")
		}
		c.APIKeys = append(c.APIKeys, key)
	}
	return nil
}

func setCORSOrigins(c *Config, v string) error {
	for _, origin := range List(v) {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
			return fmt.Errorf("%q is not an origin: name each one as https://host or https://host:port, without a path or *", origin)
		}
		c.CORSOrigins = append(c.CORSOrigins, origin)
	}
	return nil
}

// List splits at commas and line ends, so that a file of secrets may have one key on each line.
func List(v string) []string {
	var out []string
	for _, s := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == '\n' }) {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func setLogLevel(c *Config, v string) error {
	if c.LogLevel.UnmarshalText([]byte(v)) != nil {
		return errors.New("must be debug, info, warn or error")
	}
	return nil
}

func setLogFormat(c *Config, v string) error {
	if v != FormatJSON && v != FormatText {
		return errors.New("must be json or text")
	}
	c.LogFormat = v
	return nil
}

// Formats of the log.
const (
	FormatJSON = "json"
	FormatText = "text"
)
