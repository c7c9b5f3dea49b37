package stress

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

func ackerName(n int) string { return fmt.Sprintf("acker %d", n) }

// ackBook has the highest cursor with which each client was answered in this history,
// and the time of each answer.

type ackBook struct {
	mu    sync.Mutex
	floor map[string]int64
	log   map[string][]answeredAck
}

type answeredAck struct {
	at     time.Time
	offset int64
}

func (b *ackBook) at(client string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.floor[client]
}

func (b *ackBook) answered(client string, offset int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.floor == nil {
		b.floor, b.log = map[string]int64{}, map[string][]answeredAck{}
	}
	if offset > b.floor[client] {
		b.floor[client] = offset
		b.log[client] = append(b.log[client], answeredAck{time.Now(), offset})
	}
}

// ack acknowledges cursors near the head for one client, some of them old, and
// asks for the stored cursor: no answer may be below an earlier one.
func (s *soak) ack(ctx context.Context, c *caller, client string, goesOn func() bool) {
	var mine headCursor
	for ; goesOn(); c.pause(ctx, 300) {
		head, _ := s.facts.cursor.Load().(headCursor)
		epoch, quiet := s.losses.now()
		if mine.epoch != epoch || c.rnd.IntN(3) > 0 {
			mine = head
		}
		if mine.cursor == "" || mine.epoch != epoch || !quiet {
			continue
		}
		floor := s.acks.at(client)
		var a answer
		if c.rnd.IntN(4) == 0 {
			a = c.insist(ctx, http.MethodGet, "default/clients/"+pathEscape(client), "")
		} else {
			a = c.insist(ctx, http.MethodPost, "default/ack?client="+queryEscape(client), `{"cursor":"`+mine.cursor+`"}`)
		}
		if now, _ := s.losses.now(); now != epoch || a.status == 0 {
			continue
		}
		var v struct{ Cursor string }
		if !a.ok() || json.Unmarshal(a.text, &v) != nil {
			if a.status != http.StatusNotFound || floor > 0 {
				s.verdict.breaks("an ack of a valid cursor is accepted", "%s, cursor %s: %d %s", client, mine.cursor, a.status, a.text)
			}
			continue
		}
		s.verdict.count("acks", 1)
		got := offsetIn(v.Cursor)
		if got < floor {
			s.verdict.breaks("a stored cursor never goes back", "%s: answered with %d, after %d had been answered", client, got, floor)
		}
		s.acks.answered(client, got)
	}
}

// surveyAcks takes the cursors that survived a loss as the new reference, and checks that all
// that were answered before the time `safe` survived.
func (s *soak) surveyAcks(ctx context.Context, conn *pgx.Conn, safe time.Time) error {
	stored, err := storedCursors(ctx, conn)
	if err != nil {
		return err
	}
	s.acks.mu.Lock()
	defer s.acks.mu.Unlock()
	for client, log := range s.acks.log {
		for _, a := range log {
			if a.at.Before(safe) && stored[client] < a.offset {
				s.verdict.breaks("an answered ack is committed", "%s: %d was answered before the fault, and %d is stored", client, a.offset, stored[client])
			}
		}
		s.acks.floor[client] = stored[client]
		s.acks.log[client] = nil
	}
	return nil
}

func storedCursors(ctx context.Context, conn *pgx.Conn) (map[string]int64, error) {
	rows, err := conn.Query(ctx, `SELECT c.name, c.cursor FROM culvert.clients c JOIN culvert.namespaces n ON n.id = c.namespace_id WHERE n.name = 'default'`)
	if err != nil {
		return nil, err
	}
	stored := map[string]int64{}
	var name string
	var cursor int64
	_, err = pgx.ForEachRow(rows, []any{&name, &cursor}, func() error {
		stored[name] = cursor
		return nil
	})
	return stored, err
}
