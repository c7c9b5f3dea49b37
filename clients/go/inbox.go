package culvert

// inbox is the position of a client, and the memory that makes of "at least once"
// no more than once: whatever way an event comes again, its offset was seen.
type inbox struct {
	place
	gap string // the end of the last one
}

// setLog notes which log the server has; another one counts its offsets anew.
func (i *inbox) setLog(log string) {
	if i.log != "" && i.log != log {
		i.offset = 0
	}
	i.log = log
}

// skip goes over a gap and reports whether it is news.
func (i *inbox) skip(g Gap) bool {
	// Only retention leaves the offsets what they were: anything else may lead back, to
	// events that came instead of those seen.
	if g.Reason != "pruned" {
		i.offset = 0
	}
	i.cursor = g.To
	news := i.gap != g.To
	i.gap = g.To
	return news
}

// seen reports whether the event came before.
func (i *inbox) seen(e *Event) bool { return e.Offset != 0 && e.Offset <= i.offset }

// take moves behind an event.
func (i *inbox) take(e *Event, cursor string) {
	if e.Offset != 0 {
		i.offset, i.cursor = e.Offset, cursor
	}
}
