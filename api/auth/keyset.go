package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/MicahParks/jwkset"

	"github.com/culvertmq/culvert/api/wire"
)

// Bounds on what a key server may answer.
const (
	keysTimeout   = 5 * time.Second // redirects and body included
	keysSize      = 256 << 10
	keysMost      = 64 // a token without a kid is tried with each key of its algorithm
	keysRedirects = 3
)

// keySet are the usable keys of one answer. It does not change.
type keySet struct {
	all  []trusted
	byID map[string][]trusted // keys of different types may share a kid
}

// has reports whether the set has a key of this kid. For an empty kid it reports whether there is a set.
func (k *keySet) has(kid string) bool {
	return k != nil && (kid == "" || k.byID[kid] != nil)
}

// newKeyClient makes a client that keeps no connection open: minutes pass between two fetches.
func newKeyClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented
	transport.DisableKeepAlives = true
	return &http.Client{
		Transport: transport, Timeout: keysTimeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > keysRedirects || !isKeyServer(r.URL) {
				return errors.New("the JWKS URL redirects to a host that is not allowed")
			}
			return nil
		},
	}
}

// fetch gets the keys that the URL has now.
func (s *keyServer) fetch(ctx context.Context) (*keySet, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", s.url, res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, keysSize+1))
	if err != nil {
		return nil, err
	}
	if len(body) > keysSize {
		return nil, fmt.Errorf("the answer of %s is over %d bytes", s.url, keysSize)
	}
	keys, err := parseKeySet(body, s.algorithms)
	if err != nil {
		return nil, fmt.Errorf("the answer of %s: %w", s.url, err)
	}
	if len(keys.all) == 0 {
		s.log.Warn("none of the published keys can verify tokens", "url", s.url, "algorithms", s.algorithms)
	}
	return keys, nil
}

// parseKeySet keeps the keys that can verify one of the pinned algorithms, and skips the others: issuers also
// publish keys for other purposes.
func parseKeySet(body []byte, pinned []string) (*keySet, error) {
	published, err := rawKeys(body)
	if err != nil {
		return nil, err
	}
	keys := &keySet{byID: map[string][]trusted{}}
	for _, raw := range published {
		if raw, err = publicMembers(raw); err != nil {
			continue
		}
		jwk, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			continue
		}
		t := trustJWK(jwk, pinned)
		if len(t.algorithms) == 0 {
			continue
		}
		keys.all = append(keys.all, t)
		if kid := jwk.Marshal().KID; kid != "" {
			keys.byID[kid] = append(keys.byID[kid], t)
		}
	}
	return keys, nil
}

// rawKeys returns the elements of the field "keys". Names are matched exactly, as in claims.
func rawKeys(body []byte) (all []json.RawMessage, err error) {
	var keys []byte
	err = uniqueMembers(body, func(name string, value []byte) error {
		if name == "keys" {
			keys = value
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case wire.IsNull(keys): // an error; an empty set would withdraw every key
		return nil, errors.New(`there is no field "keys"`)
	}
	isArray, err := wire.Elements(keys, func(i int, value []byte) error {
		if i == keysMost {
			return fmt.Errorf("more than %d keys", keysMost)
		}
		all = append(all, value)
		return nil
	})
	if !isArray {
		return nil, errors.New(`"keys" must be an array`)
	}
	return all, err
}

// jwkMembers are the fields that are read of a published key. None is private: a secret that is published
// cannot be used as a key.
var jwkMembers = []string{"kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e", "x5u", "x5c", "x5t", "x5t#S256"}

// publicMembers returns the key with only these fields, because the decoder matches names in any case and would
// take others for them. It refuses a key with duplicate names.
func publicMembers(raw []byte) ([]byte, error) {
	kept := map[string]json.RawMessage{}
	err := uniqueMembers(raw, func(name string, value []byte) error {
		if slices.Contains(jwkMembers, name) {
			kept[name] = value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(kept)
}

// trustJWK follows what the key says about its use: "alg", "use" and "key_ops".
func trustJWK(jwk jwkset.JWK, pinned []string) trusted {
	m := jwk.Marshal()
	if m.USE != "" && m.USE != jwkset.UseSig || len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return trusted{}
	}
	if m.ALG != "" {
		pinned = slices.DeleteFunc(slices.Clone(pinned), func(a string) bool { return a != m.ALG.String() })
	}
	return trust(jwk.Key(), pinned)
}
