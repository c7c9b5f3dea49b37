package stress

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// accident is a kind of fault.
type accident string

const (
	killed     accident = "kill -9"
	terminated accident = "SIGTERM"
	paused     accident = "SIGSTOP, then SIGCONT"

	crashed       accident = "Postgres crashes"
	backendsEnd   accident = "backends are terminated"
	tablesLocked  accident = "tables are locked"
	longOpen      accident = "a long transaction is open"
	poolerKilled  accident = "PgBouncer is killed"
	snapshotTaken accident = "a snapshot is taken"
	snapshotBack  accident = "the snapshot is put back"
	promoted      accident = "the standby is promoted"
)

// happening is one fault of a schedule: its kind, what it hits, when and for how long.
type happening struct {
	at     time.Duration
	what   accident
	target int           // which instance, or which of several variants
	lasts  time.Duration // length of a pause, a lock, an outage, or a standby's lag
	apart  bool          // instances are stopped while a snapshot is put back
}

func (h happening) String() string {
	s := fmt.Sprintf("%6.2fs %s", h.at.Seconds(), h.what)
	switch h.what {
	case killed, terminated, paused:
		s += fmt.Sprintf(" %s for %v", []string{"instance 0", "instance 1", "the handler"}[h.target], h.lasts)
	case snapshotBack:
		s += map[bool]string{true: ", instances stopped", false: ", instances running"}[h.apart]
	case promoted:
		s += fmt.Sprintf(", %v behind", h.lasts)
	case backendsEnd:
		s += []string{": one", ": all", ": those at work"}[h.target]
	case tablesLocked:
		s += fmt.Sprintf(" for %v: %s", h.lasts, lockedTables[h.target])
	default:
		s += fmt.Sprintf(" for %v", h.lasts)
	}
	return s
}

var lockedTables = []string{"culvert.events", "culvert.keys", "culvert.clients", "culvert.staged", "culvert.memberships, culvert.rooms"}

// schedule is everything that is drawn from a seed: the same seed and length give the
// same schedule. Two rows of faults run in parallel.
type schedule struct {
	seed      uint64
	length    time.Duration
	pooled    [2]bool // which instances reach Postgres through PgBouncer
	instances []happening
	database  []happening
}

func draw(seed uint64, length time.Duration) schedule {
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := schedule{seed: seed, length: length}
	s.pooled = [][2]bool{{}, {true, false}, {true, true}}[rnd.IntN(3)]
	s.instances = drawInstances(rnd, length)
	s.database = drawDatabase(rnd, length, s.pooled[0])
	losses := drawLosses(rnd, length)
	for _, l := range losses {
		// Small faults keep a second's distance from losses, so that their effects can be distinguished.
		s.database = slices.DeleteFunc(s.database, func(h happening) bool { return h.at > l.at-time.Second && h.at < l.at+2*time.Second })
	}
	s.database = append(s.database, losses...)
	slices.SortFunc(s.database, func(a, b happening) int { return int(a.at - b.at) })
	return s
}

func drawInstances(rnd *rand.Rand, length time.Duration) (all []happening) {
	for at := 2 * time.Second; ; {
		h := happening{at: at, what: []accident{killed, killed, terminated, paused}[rnd.IntN(4)], target: rnd.IntN(3)}
		h.lasts = between(rnd, 50*time.Millisecond, time.Second)
		if h.what == paused {
			h.lasts = between(rnd, 200*time.Millisecond, 4*time.Second)
		}
		at = at + h.lasts + between(rnd, 700*time.Millisecond, 3*time.Second)
		if h.at+h.lasts > length-time.Second {
			return all
		}
		all = append(all, h)
	}
}

func drawDatabase(rnd *rand.Rand, length time.Duration, pooled bool) (all []happening) {
	kinds := []accident{crashed, crashed, backendsEnd, tablesLocked, longOpen}
	if pooled {
		kinds = append(kinds, poolerKilled)
	}
	for at := 3 * time.Second; ; {
		h := happening{at: at, what: kinds[rnd.IntN(len(kinds))]}
		switch h.what {
		case backendsEnd:
			h.target = rnd.IntN(3)
		case tablesLocked:
			h.target, h.lasts = rnd.IntN(len(lockedTables)), between(rnd, 500*time.Millisecond, 1500*time.Millisecond)
		case longOpen:
			h.lasts = between(rnd, 2*time.Second, 8*time.Second)
		default:
			h.lasts = between(rnd, 50*time.Millisecond, time.Second)
		}
		at = at + between(rnd, 2*time.Second, 5*time.Second)
		if h.at+h.lasts > length-time.Second {
			return all
		}
		all = append(all, h)
	}
}

// drawLosses draws the faults that necessarily lose data: none in a quarter of
// all seeds, else a promotion, a snapshot restored once or twice, or both one after the other.
func drawLosses(rnd *rand.Rand, length time.Duration) (all []happening) {
	part := func(from, to float64) time.Duration {
		return between(rnd, time.Duration(from*float64(length)), time.Duration(to*float64(length)))
	}
	promotion := func(from, to float64) happening {
		lag := time.Duration(0)
		if rnd.IntN(3) > 0 {
			lag = between(rnd, 100*time.Millisecond, 1500*time.Millisecond)
		}
		return happening{at: part(from, to), what: promoted, lasts: lag}
	}
	snapshots := func(from, to float64) []happening {
		third := (to - from) / 3
		list := []happening{
			{at: part(from, from+third), what: snapshotTaken},
			{at: part(from+1.5*third, to-third/2), what: snapshotBack, apart: rnd.IntN(2) == 0},
		}
		if rnd.IntN(2) == 0 {
			list = append(list, happening{at: part(to-third/2, to), what: snapshotBack, apart: rnd.IntN(2) == 0})
		}
		return list
	}
	switch rnd.IntN(4) {
	case 1:
		return []happening{promotion(0.3, 0.85)}
	case 2:
		return snapshots(0.15, 0.85)
	case 3:
		if rnd.IntN(2) == 0 {
			return append([]happening{promotion(0.2, 0.4)}, snapshots(0.5, 0.9)...)
		}
		return append(snapshots(0.1, 0.5), promotion(0.7, 0.85))
	}
	return nil
}

func between(rnd *rand.Rand, from, to time.Duration) time.Duration {
	return (from + time.Duration(rnd.Int64N(int64(to-from)))).Round(10 * time.Millisecond)
}

func (s schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %v; PgBouncer before instance 0: %v, 1: %v\n", s.seed, s.length, s.pooled[0], s.pooled[1])
	for _, h := range s.instances {
		fmt.Fprintf(&b, "    %s\n", h)
	}
	for _, h := range s.database {
		fmt.Fprintf(&b, "  | %s\n", h)
	}
	return b.String()
}
