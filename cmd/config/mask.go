package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// masked stands for a secret.
const masked = "********"

// Shown returns the setting's value as it may be shown to a person.
func (s Setting) Shown(text string) string {
	switch {
	case text != "" && s.kind == "pem":
		return fmt.Sprintf("PEM, %d block(s)", strings.Count(text, "-----BEGIN "))
	case !s.secret || text == "":
		return text
	case s.kind == "dsn":
		return MaskDSN(text)
	default:
		return masked
	}
}

// passwordPair finds password=… in a DSN of key=value pairs, quoted or not.
var passwordPair = regexp.MustCompile(`(?i)\b(\w*password)\s*=\s*('(?:[^'\\]|\\.)*'?|[^\s']\S*)`)

// MaskDSN hides the passwords in a database URL or in key=value pairs. If it cannot parse the text, it hides
// all of it.
func MaskDSN(dsn string) string {
	if !strings.Contains(dsn, "://") {
		return passwordPair.ReplaceAllString(dsn, "$1="+masked)
	}
	u, err := url.Parse(dsn)
	if err != nil || u.Opaque != "" {
		return masked
	}
	// With an unescaped # or ?, part of the password is in another part of the URL.
	if rest := u.Path + u.RawQuery + u.Fragment; strings.Contains(rest, "@") {
		return masked
	}
	if _, ok := u.User.Password(); ok {
		u.User = url.UserPassword(u.User.Username(), masked)
	}
	query := u.Query()
	for key := range query {
		if strings.Contains(strings.ToLower(key), "password") {
			query.Set(key, masked)
			u.RawQuery = query.Encode()
		}
	}
	// The mask is shown without percent-encoding.
	return strings.ReplaceAll(u.String(), url.QueryEscape(masked), masked)
}
