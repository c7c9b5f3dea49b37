package auth

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestSignToken(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	valid := Claims{RegisteredClaims: jwt.RegisteredClaims{Subject: "a", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))}}
	if _, err := SignToken(secret, valid); err != nil {
		t.Error(err)
	}
	if _, err := SignToken(nil, valid); err == nil {
		t.Error("a token was signed without a secret")
	}
	for _, change := range []func(*Claims){
		func(c *Claims) { c.Subject = "" },
		func(c *Claims) { c.Subject = "a\nb" },
		func(c *Claims) { c.ExpiresAt = nil },
		func(c *Claims) { c.Namespaces = List{"Not valid"} },
	} {
		c := valid
		change(&c)
		if token, err := SignToken(secret, c); err == nil {
			t.Errorf("SignToken made %s", token)
		}
	}
}
