package postgres

import (
	"errors"
	"strings"
	"testing"
)

func TestVersions(t *testing.T) {
	for text, want := range map[string]struct {
		major int
		says  string // in the error; "": the server is accepted
	}{
		"PostgreSQL 14.0 on x86_64-pc-linux-gnu, compiled by gcc, 64-bit":                   {14, ""},
		"PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc": {15, ""},
		"PostgreSQL 16.4 (EnterpriseDB Advanced Server 16.4.1) on x86_64":                   {16, ""},
		"PostgreSQL 19devel on aarch64":                                                     {19, ""},
		"PostgreSQL 13.20 on x86_64-pc-linux-gnu":                                           {0, "older"},
		"PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC, Redshift 1.0.12103":        {0, "table locks"},
		"PostgreSQL 15.2-YB-2025.1.0.0-b0 on x86_64-pc-linux-gnu":                           {0, "YugabyteDB"},
		"CockroachDB CCL v25.1.0 (x86_64-pc-linux-gnu, built 2025/02/10)":                   {0, "LOCK TABLE"},
		"PostgreSQL 12.12 (Greenplum Database 7.1.0) on x86_64":                             {0, "Greenplum"},
		"MySQL 8": {0, "not PostgreSQL"},
		"":        {0, "not PostgreSQL"},
	} {
		major, err := checkVersion(text)
		switch {
		case want.says == "" && (err != nil || major != want.major):
			t.Errorf("%q: %d, %v", text, major, err)
		case want.says != "" && (!errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), want.says) || !strings.Contains(err.Error(), "PostgreSQL 14 or newer")):
			t.Errorf("%q: %v, want %q", text, err, want.says)
		}
	}
}

// Settings that cannot be pinned must be checked, and pinned values must pass their own check.
func TestSettingsFitThemselves(t *testing.T) {
	for _, s := range settings {
		switch {
		case s.value == "" && (s.fits == nil || s.cure == "" || !s.fits(s.cure)):
			t.Errorf("%s has neither a value that Culvert sets nor a valid one to recommend", s.name)
		case s.value != "" && s.fits != nil && !s.fits(s.value):
			t.Errorf("%s does not accept its own value %q", s.name, s.value)
		}
	}
}
