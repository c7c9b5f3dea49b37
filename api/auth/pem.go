package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// parsePublicKeys reads one or more PEM blocks: with two, an old key stays valid while a new one comes into
// use. Its errors are to be read after "the key".
func parsePublicKeys(text []byte) ([]any, error) {
	const want = "want -----BEGIN PUBLIC KEY----- and what follows"
	var keys []any
	for rest := text; len(bytes.TrimSpace(rest)) > 0; {
		block, after := pem.Decode(rest)
		if block == nil {
			return nil, errors.New("is not PEM: " + want)
		}
		rest = after
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		if algorithmsOf(key) == nil {
			return nil, fmt.Errorf("is %s: RSA of %d to %d bits, ECDSA on P-256 and Ed25519 can be used", describe(key), minRSA, maxRSA)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("is empty: " + want)
	}
	return keys, nil
}

// parseBlock takes the key out of a PEM block. A certificate serves only to carry the key: its validity is not
// checked.
func parseBlock(block *pem.Block) (key any, err error) {
	switch {
	case block.Type == "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = c.PublicKey
		}
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("is a private key: this server needs the public one, and the private one belongs to the issuer alone")
	default:
		return nil, fmt.Errorf("is a PEM block of type %q: want PUBLIC KEY or CERTIFICATE", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return key, nil
}

// describe returns words for a key, for error texts.
func describe(key any) string {
	switch k := key.(type) {
	case []byte:
		return "the JWT secret"
	case *rsa.PublicKey:
		return fmt.Sprintf("an RSA key of %d bits", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "an ECDSA key on " + k.Curve.Params().Name
	}
	return fmt.Sprintf("a key of type %T", key)
}
