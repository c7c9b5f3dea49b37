package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// The claims of a token decide about rights, so they are read exactly as RFC 7519 defines them. encoding/json
// is too lenient: it matches names in any case ("EXP", and "nſ" for "ns"), keeps the last of two fields of one
// name, and turns invalid UTF-8 into U+FFFD, so that different subjects become the same one. jwt.NumericDate
// also takes a string for a number.

// lastDate bounds dates: the year 9999 is the last one that RFC 3339 can write.
const lastDate = 253402300799

// readClaims are the claims of a token, read strictly. fault says what is wrong with them. It is kept and not
// returned at once, because the parser reads the claims before it checks the signature.
type readClaims struct {
	Claims
	fault error
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *readClaims) UnmarshalJSON(raw []byte) error {
	c.fault = uniqueMembers(raw, c.read)
	return nil
}

// faultText says what is wrong with the claims. Only the owner of a token with a good signature may see it.
func (c *readClaims) faultText() string {
	var p *wire.Problem
	if errors.As(c.fault, &p) {
		return "the token's claims are not accepted: " + p.Detail
	}
	return "the token's claims are not accepted: " + c.fault.Error()
}

// read reads one claim. null counts as absent, and unknown claims are ignored.
func (c *readClaims) read(name string, value []byte) (err error) {
	if wire.IsNull(value) {
		return nil
	}
	switch name {
	case "sub":
		c.Subject, err = wire.Text(name, value)
	case "iss":
		c.Issuer, err = wire.Text(name, value)
	case "exp":
		c.ExpiresAt, err = readDate(name, value)
	case "nbf":
		c.NotBefore, err = readDate(name, value)
	case "iat":
		c.IssuedAt, err = readDate(name, value)
	case "aud":
		var list List
		list, err = readList(name, value)
		c.Audience = jwt.ClaimStrings(list)
	case "ns":
		c.Namespaces, err = readPatterns(name, value)
	case "rooms":
		c.Rooms, err = readPatterns(name, value)
	case "emit":
		c.Emit, err = readPatterns(name, value)
	}
	return err
}

// uniqueMembers calls f for every field of a JSON object. It refuses anything but an object, duplicate names,
// and text that is not valid Unicode.
func uniqueMembers(raw []byte, f func(name string, value []byte) error) error {
	if _, err := event.ParseData(raw); err != nil {
		return err
	}
	seen := map[string]struct{}{}
	isObject, err := wire.Members(raw, func(name string, value []byte) error {
		if _, twice := seen[name]; twice {
			return fmt.Errorf("duplicate field %q", wire.Clip(name))
		}
		seen[name] = struct{}{}
		return f(name, value)
	})
	if !isObject {
		return errors.New("they are not a JSON object")
	}
	return err
}

// readDate reads a NumericDate (RFC 7519, section 2): seconds since 1970 as a number.
func readDate(name string, value []byte) (*jwt.NumericDate, error) {
	var n float64
	if err := json.Unmarshal(value, &n); err != nil {
		return nil, fmt.Errorf("%q must be a number of seconds since 1970", name)
	}
	if math.Abs(n) > lastDate {
		return nil, fmt.Errorf("%q lies beyond the year 9999: it must be in seconds since 1970", name)
	}
	whole, fraction := math.Modf(n)
	return jwt.NewNumericDate(time.Unix(int64(whole), int64(fraction*1e9))), nil
}

// readList reads a string or an array of strings.
func readList(name string, value []byte) (List, error) {
	if value[0] == '"' {
		s, err := wire.Text(name, value)
		return List{s}, err
	}
	list := List{}
	isArray, err := wire.Elements(value, func(_ int, v []byte) error {
		s, err := wire.Text(name, v)
		list = append(list, s)
		return err
	})
	if !isArray {
		return nil, fmt.Errorf("%q must be a string or an array of strings", name)
	}
	return list, err
}

func readPatterns(name string, value []byte) (List, error) {
	list, err := readList(name, value)
	if err != nil {
		return nil, err
	}
	return list, list.check(name)
}

// strictHeader reports whether a token's header is a JSON object without duplicate names: the meaning of "alg",
// "kid" and "crit" must not depend on who reads them.
func strictHeader(token string) bool {
	encoded, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	return err == nil && uniqueMembers(raw, func(string, []byte) error { return nil }) == nil
}
