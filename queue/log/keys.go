package log

import (
	"bytes"
	"slices"

	"github.com/culvertmq/culvert/event"
)

// keyRef identifies an idempotency key: its namespace, its owner and its text.
type keyRef struct {
	ns    event.Namespace
	owner event.Client
	key   event.Key
}

func keyRefOf(e *event.Emit) keyRef { return keyRef{e.Namespace, e.KeyOwner, e.Key} }

// contradicts reports whether the unit uses one key for two different contents.
func (u *unit) contradicts() bool {
	if u.hashes == nil || len(u.emits) == 1 {
		return false
	}
	seen := map[keyRef][]byte{}
	for i, h := range u.hashes {
		ref := keyRefOf(&u.emits[i])
		if other, again := seen[ref]; h != nil && again && !bytes.Equal(other, h) {
			return true
		}
		seen[ref] = h
	}
	return false
}

// apart splits off the units that have a key in common with an earlier one: the result of the earlier one
// decides about them. A series keeps its order: what follows such a unit is split off with it. A key that one
// unit uses twice is handled elsewhere, see settleRepeats. Units of one namespace that wait for staged events
// up to different positions are split as well.
func apart(units []*unit) (now, later []*unit) {
	var taken map[keyRef]bool
	until := untils(units)
	var waiting map[*series]bool
	for _, u := range units {
		wait := u.series != nil && waiting[u.series]
		for i := range u.hashes {
			wait = wait || taken[keyRefOf(&u.emits[i])]
		}
		if until != nil {
			for ns := range u.namespaces {
				if first, again := until[ns]; again {
					wait = wait || first != u.until
				} else {
					until[ns] = u.until
				}
			}
		}
		if wait {
			later = append(later, u)
			if u.series != nil {
				if waiting == nil {
					waiting = map[*series]bool{}
				}
				waiting[u.series] = true
			}
			continue
		}
		if u.hashes == nil {
			now = append(now, u)
			continue
		}
		if taken == nil {
			taken = map[keyRef]bool{}
		}
		for i := range u.emits {
			if u.hashes[i] != nil {
				taken[keyRefOf(&u.emits[i])] = true
			}
		}
		now = append(now, u)
	}
	return now, later
}

// untils returns an empty map for apart if a unit has waited for staged events, which is rare, and nil
// otherwise.
func untils(units []*unit) map[event.Namespace]horizon {
	if !slices.ContainsFunc(units, func(u *unit) bool { return u.until.of != nil }) {
		return nil
	}
	return map[event.Namespace]horizon{}
}
