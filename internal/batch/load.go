package batch

// Load is how much of a queue something takes.
type Load struct {
	Events int
	Rooms  int // rooms they are addressed to: rows in Postgres
	Bytes  int // held in memory
}

// Plus returns the sum of both.
func (l Load) Plus(o Load) Load {
	return Load{l.Events + o.Events, l.Rooms + o.Rooms, l.Bytes + o.Bytes}
}

func (l Load) minus(o Load) Load {
	return Load{l.Events - o.Events, l.Rooms - o.Rooms, l.Bytes - o.Bytes}
}

// Within reports whether l is at most n times o. Rooms are not compared, because their memory is part of Bytes.
func (l Load) Within(o Load, n int) bool { return l.Events <= n*o.Events && l.Bytes <= n*o.Bytes }

// Fits reports whether l is within the bounds of a batch, rooms included.
func (l Load) Fits(most Load) bool { return l.Within(most, 1) && l.Rooms <= most.Rooms }

// Caller is who queued something: a client of a namespace, or all backends of a namespace together (no Client).
type Caller struct{ Namespace, Client string }
