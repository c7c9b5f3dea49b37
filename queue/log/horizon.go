package log

import (
	"github.com/culvertmq/culvert/internal/lineage"
)

// horizon is a transaction id. It means something only on its own server: on another one that was behind, all
// staged events may have lower ids.
type horizon struct {
	of  *lineage.Lineage
	xid uint64
}

// on returns the id for culvert.append, or 0 if l is not of the same server.
func (h *horizon) on(l *lineage.Lineage) int64 {
	if h == nil || h.of == nil || !h.of.SameHistory(l) {
		return 0
	}
	return int64(h.xid) //nolint:gosec // a transaction id counts up from 0
}

// movedUpTo says which staged events are in the log already, see culvert.append: those of all transactions that
// are visible in seen, and those of the transaction part up to the id last (both are 0 at first). Like a
// horizon, it means something only on its own server.
type movedUpTo struct {
	of   *lineage.Lineage
	seen string // a pg_snapshot
	part int64
	last int64
}

// on returns c for culvert.append. If l is not of the same server, it says that nothing was moved.
func (c *movedUpTo) on(l *lineage.Lineage) movedUpTo {
	if c == nil || c.of == nil || !c.of.SameHistory(l) {
		return movedUpTo{seen: "1:1:"}
	}
	return *c
}
