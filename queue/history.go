package queue

import "context"

// History reads a page of one room after a cursor, the oldest retained event
// first when the cursor is zero, without what excludes the viewer (zero: a
// backend, who sees all). It has at most limit events and about 4 MiB. Errors:
// ErrUnavailable.
func (q *Queue) History(ctx context.Context, ns Namespace, r Room, viewer Client, after Cursor, limit int) (Batch, error) {
	s := &Subscription{q: q, cursor: after, in: Interest{Namespace: ns, Client: viewer, Rooms: []Room{r}}}
	if after.IsZero() {
		var err error
		if s.cursor, err = q.earliest(ctx); err != nil {
			return Batch{}, err
		}
	}
	return s.poll(ctx, limit, s.catchUp)
}
