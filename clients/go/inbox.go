package culvert

// place is a position that was handled.
type place struct {
	log    string
	cursor string
	offset int64 // of the last event; 0: there was none yet
}

// inbox is the position of a client. It turns "at least once" into "once": an event
// that comes again, by whatever transport, has an offset that was seen.
type inbox struct {
	place
	gap string // the end of the last one
}

// setLog notes which log the server has; offsets of another log begin anew.
func (i *inbox) setLog(log string) {
	if i.log != "" && i.log != log {
		i.offset = 0
	}
	i.log = log
}

// skip moves the position past a gap and reports whether the gap is new.
func (i *inbox) skip(g Gap) bool {
	// Offsets stay the same only after retention. Any other gap may lead back, to
	// events that came instead of those seen.
	if g.Reason != "pruned" {
		i.offset = 0
	}
	i.cursor = g.To
	news := i.gap != g.To
	i.gap = g.To
	return news
}

// seen reports whether the event was received before.
func (i *inbox) seen(e *Event) bool { return e.Offset != 0 && e.Offset <= i.offset }

// take moves the position past an event.
func (i *inbox) take(e *Event, cursor string) {
	if e.Offset != 0 {
		i.offset, i.cursor = e.Offset, cursor
	}
}
