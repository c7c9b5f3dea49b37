package limits

import (
	"slices"
	"strings"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/event"
)

// party is who a limit is counted for: a client, or with none its namespace.
type party struct {
	ns     event.Namespace
	client event.Client
}

// holder is who requests are counted for: a client, the key of a backend, a namespace,
// or, when it is zero, the whole instance.
type holder struct {
	party
	key auth.KeyID
}

// everywhere is somebody in all their namespaces together, if they are several: what they may
// have must not grow with their number. Tokens of other issuers may have the same sub, so
// the namespaces tell them apart.
func everywhere(who *auth.Identity) (of holder, several bool) {
	switch {
	case len(who.Namespaces) == 1, who.Namespaces == nil && !who.Backend:
		return holder{}, false
	case who.Backend:
		return holder{key: who.Key}, true
	}
	return holder{party{client: who.Client}, auth.KeyOf(strings.Join(slices.Sorted(slices.Values(who.Namespaces)), " "))}, true
}

// part is how much of the instance's somebody may have of something: an API key half, a token a
// quarter.
func part(who *auth.Identity, all int) int {
	if who.Backend {
		return (all + 1) / 2
	}
	return (all + 3) / 4
}

// credentials are what somebody shows.
func credentials(who *auth.Identity) string {
	if who.Backend {
		return "the API key"
	}
	return "the token"
}

// leaves reports whether a holder with n of at most most leaves enough of all, of which taken are
// taken, to others. Alone it may have most. The more others have, the less it may have, and
// something is always left: for one holder more, when all have the same limit and as much of it
// as they may. Without that two namespaces, which one token can be for, would take everything.
func leaves(n, most, taken, all int) bool {
	if most == 0 || most >= all {
		return true
	}
	return float64(n)*float64(all-most) <= float64(most)*float64(all-taken)
}
