package queue

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/queue/tail"
)

// idle keeps the readers of clients between two polls. The tail applies changes of memberships to them meanwhile, so a
// poll that continues where the one before ended needs no query. It keeps one reader for each client, for some time, and
// drops the oldest ones when there are too many.
type idle struct {
	keep time.Duration // 0: nothing is kept
	most int           // about how many bytes all kept readers may take

	mu     sync.Mutex
	byKey  map[clientKey]*list.Element
	oldest *list.List // of *idleReader
	bytes  int
}

// idleReader is what the next poll of a client takes over.
type idleReader struct {
	key    clientKey
	rights string
	ns     lineage.NamespaceRef
	of     *lineage.Lineage // that ns is of
	cursor event.Cursor
	run    event.Offset
	reader *tail.Reader
	bytes  int
	until  time.Time
}

const (
	// mostIdleBytes bounds about what all idle readers take.
	mostIdleBytes = 64 << 20
	// idleBytes is about what one takes that is in no room.
	idleBytes = 2 << 10
	idleSweep = time.Second
)

func newIdle(keep time.Duration) *idle {
	return &idle{keep: keep, most: mostIdleBytes, byKey: map[clientKey]*list.Element{}, oldest: list.New()}
}

// put keeps a reader, in place of the one that the client had. The reader is closed when it is not kept, or no longer.
func (i *idle) put(r *idleReader) {
	if i.keep <= 0 {
		r.reader.Close()
		return
	}
	r.reader.Rest()
	r.bytes, r.until = idleBytes+r.reader.Size(), time.Now().Add(i.keep)
	i.mu.Lock()
	defer i.mu.Unlock()
	if old := i.byKey[r.key]; old != nil {
		i.drop(old)
	}
	i.byKey[r.key] = i.oldest.PushBack(r)
	i.bytes += r.bytes
	for i.bytes > i.most {
		i.drop(i.oldest.Front())
	}
}

// take returns the reader of a client if it can continue after a position with these rights; nil: Postgres has to be
// asked. A reader that cannot is closed: the client is somewhere else.
func (i *idle) take(key clientKey, rights string, after event.Cursor) *idleReader {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.byKey[key]
	if e == nil {
		return nil
	}
	r := e.Value.(*idleReader)
	if r.cursor != after || r.rights != rights || !time.Now().Before(r.until) {
		i.drop(e)
		return nil
	}
	i.remove(e)
	return r
}

// drop closes a reader. The caller holds the lock.
func (i *idle) drop(e *list.Element) {
	i.remove(e).reader.Close()
}

func (i *idle) remove(e *list.Element) *idleReader {
	r := i.oldest.Remove(e).(*idleReader)
	delete(i.byKey, r.key)
	i.bytes -= r.bytes
	return r
}

// run is a goroutine that drops the readers nobody has come back for.
func (i *idle) run(ctx context.Context) {
	tick := time.NewTicker(idleSweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			i.sweep(now)
		}
	}
}

func (i *idle) sweep(now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for e := i.oldest.Front(); e != nil && !now.Before(e.Value.(*idleReader).until); e = i.oldest.Front() {
		i.drop(e)
	}
}
