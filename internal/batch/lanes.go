package batch

import (
	"container/heap"
	"slices"
)

// lanes is a queue in which every caller has a lane of its own. They take turns by bytes: first namespaces,
// then the clients of one. However much one caller has queued, the next item of another caller waits
// for at most about one item of each of the others. Within a lane the order is kept.
type lanes[T any] struct{ root lane[T] }

// lane is a queue: a client's is of items, a namespace's and the root are of lanes.
type lane[T any] struct {
	name  string
	items []item[T]

	lanes map[string]*lane[T] // those that are not empty
	order turns[T]            // the same: the lane whose turn is next comes first
	now   float64             // where a new lane begins
	turn  float64             // where it stands: where it began, and the bytes that it has been served since
	place int                 // index in its neighbours' order
}

type item[T any] struct {
	value T
	load  Load
}

// push adds an item to the end of a caller's lane.
func (q *lanes[T]) push(c Caller, value T, l Load) {
	space := q.root.enter(c.Namespace)
	client := space.enter(c.Client)
	client.items = append(client.items, item[T]{value, l})
}

// pushFront puts an item back to the front of a caller's lane.
func (q *lanes[T]) pushFront(c Caller, value T, l Load) {
	client := q.root.enter(c.Namespace).enter(c.Client)
	client.items = slices.Insert(client.items, 0, item[T]{value, l})
}

// enter returns the lane of l with this name. A new one begins at now.
func (l *lane[T]) enter(name string) *lane[T] {
	in := l.lanes[name]
	if in != nil {
		return in
	}
	if l.lanes == nil {
		l.lanes = map[string]*lane[T]{}
	}
	in = &lane[T]{name: name, turn: l.now}
	l.lanes[name] = in
	heap.Push(&l.order, in)
	return in
}

// next returns the item whose turn it is; ok is false when there is none.
func (q *lanes[T]) next() (value T, l Load, ok bool) {
	in := &q.root
	for len(in.order) > 0 {
		in = in.order[0]
	}
	if len(in.items) == 0 {
		return value, l, false
	}
	return in.items[0].value, in.items[0].load, true
}

// pop removes what next returned.
func (q *lanes[T]) pop() {
	space := q.root.order[0]
	client := space.order[0]
	bytes := client.items[0].load.Bytes
	client.items[0] = item[T]{}
	client.items = client.items[1:]
	space.served(client, bytes)
	q.root.served(space, bytes)
}

// served counts the bytes of a lane that was served, and removes the lane if it is empty. It also moves on now, where
// new lanes begin: by the bytes divided by the number of lanes plus one. Without that, a steady flow of new lanes would
// always come before the lanes that have been served. The plus one lets a new lane come before a lane that waits alone
// and has more items.
func (l *lane[T]) served(in *lane[T], bytes int) {
	l.now = max(l.now, in.turn) + float64(bytes)/float64(len(l.order)+1)
	in.turn += float64(bytes)
	if len(in.items)+len(in.order) > 0 {
		heap.Fix(&l.order, in.place)
		return
	}
	heap.Remove(&l.order, in.place)
	delete(l.lanes, in.name)
}

// take removes and returns items while all together fit into most, but at least one if there is one.
func (q *lanes[T]) take(most Load) (taken []T, all Load) {
	for {
		value, l, ok := q.next()
		if sum := all.Plus(l); !ok || len(taken) > 0 && !sum.Fits(most) {
			return taken, all
		}
		q.pop()
		taken, all = append(taken, value), all.Plus(l)
	}
}

func (q *lanes[T]) empty() bool { return len(q.root.order) == 0 }

// turns is a heap of lanes.
type turns[T any] []*lane[T]

func (t turns[T]) Len() int           { return len(t) }
func (t turns[T]) Less(i, j int) bool { return t[i].turn < t[j].turn }

func (t turns[T]) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = i, j
}

// Push implements heap.Interface.
func (t *turns[T]) Push(x any) {
	in := x.(*lane[T])
	in.place = len(*t)
	*t = append(*t, in)
}

// Pop implements heap.Interface.
func (t *turns[T]) Pop() any {
	old := *t
	in := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	return in
}
