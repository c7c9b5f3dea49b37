package batch

// Load is how much of a queue something takes.
type Load struct {
	Events int
	Rooms  int // what they are addressed to: rows in Postgres
	Bytes  int // held in memory
}

// Plus is the sum of both.
func (l Load) Plus(o Load) Load {
	return Load{l.Events + o.Events, l.Rooms + o.Rooms, l.Bytes + o.Bytes}
}

func (l Load) minus(o Load) Load {
	return Load{l.Events - o.Events, l.Rooms - o.Rooms, l.Bytes - o.Bytes}
}

// Within reports whether it is at most n times another one. The rooms count in the bytes, and are not compared.
func (l Load) Within(o Load, n int) bool { return l.Events <= n*o.Events && l.Bytes <= n*o.Bytes }

// Fits reports whether a batch may have it, rooms included.
func (l Load) Fits(most Load) bool { return l.Within(most, 1) && l.Rooms <= most.Rooms }

// Caller is whose something is: a client of a namespace, or the backends of a namespace together (no Client).
type Caller struct{ Namespace, Client string }
