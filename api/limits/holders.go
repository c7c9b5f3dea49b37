package limits

import (
	"slices"
	"strings"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/event"
)

// party is the one whose rate is limited: a client or, if there is none, a namespace.
type party struct {
	ns     event.Namespace
	client event.Client
}

// holder is the one whose requests and connections are counted: a client, the key of a backend, a namespace or, if it
// is zero, the whole instance.
type holder struct {
	party
	key auth.KeyID
}

// everywhere returns the holder that counts a caller in all its namespaces together, if it has several: its
// limits must not grow with the number of its namespaces. Two issuers may use the same sub for different
// clients, so the holder of a token includes its namespaces.
func everywhere(who *auth.Identity) (of holder, several bool) {
	switch {
	case len(who.Namespaces) == 1, who.Namespaces == nil && !who.Backend:
		return holder{}, false
	case who.Backend:
		return holder{key: who.Key}, true
	}
	return holder{party{client: who.Client}, auth.KeyOf(strings.Join(slices.Sorted(slices.Values(who.Namespaces)), " "))}, true
}

// part returns how much of the instance's limit a caller of several namespaces may take: an API key half, a
// token a quarter.
func part(who *auth.Identity, all int) int {
	if who.Backend {
		return (all + 1) / 2
	}
	return (all + 3) / 4
}

// credentials returns a word for the caller's credentials, for error texts.
func credentials(who *auth.Identity) string {
	if who.Backend {
		return "the API key"
	}
	return "the token"
}

// leaves reports whether a holder that has n, and may have most, leaves enough to others. All holders together
// have taken and may have all. A holder alone may have most; the more the others have, the less it may have. So
// there is always some left for one more holder with the same limit. Without this rule, two namespaces would
// take everything, and one token can be for two.
func leaves(n, most, taken, all int) bool {
	if most == 0 || most >= all {
		return true
	}
	return float64(n)*float64(all-most) <= float64(most)*float64(all-taken)
}
