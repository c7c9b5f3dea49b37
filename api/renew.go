package api

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/culvertmq/culvert/event"
)

const (
	signalToken  = "token"
	signalPrefix = "culvert:"
)

// renew serves POST /v1/{ns}/token: the token of this request takes the place of the
// ones that open streams of the client came with.
func (h *Handler) renew(c *call) error {
	r, err := h.keys.renewal(c.ns, &c.who)
	if err != nil {
		return err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	data, err := event.ParseData(body)
	if err != nil {
		return err
	}
	if err := h.queue.Signal(c.r.Context(), c.ns, c.who.client, signalToken, data); err != nil {
		return err
	}
	return h.reply(c, http.StatusOK, append(appendTime([]byte(`{"expires":`), c.who.expires), '}'))
}

// renew gives the stream the life of the newer token, if that allows what the
// stream reads.
func (s *stream) renew(r *renewal) {
	who, ok := s.h.keys.renewed(s.ns, s.who, r)
	if !ok {
		return
	}
	for _, room := range s.reads {
		if !who.mayRead(room) {
			return
		}
	}
	if !slices.Equal(s.who.rooms, who.rooms) {
		s.sub.Allow(who.mayKeep())
	}
	s.who = who
	s.plan()
}

// withoutSignals takes the signals out of volatile events. follow gets the renewals among them; nil: nobody
// does, as on a long poll, since the next one comes with the newer token anyway.
func withoutSignals(events []*event.Event, follow func(*renewal)) []*event.Event {
	kept := events[:0]
	for _, e := range events {
		if e.Name != signalPrefix+signalToken {
			kept = append(kept, e)
			continue
		}
		var r renewal
		if follow != nil && json.Unmarshal([]byte(e.Data), &r) == nil {
			follow(&r)
		}
	}
	return kept
}
