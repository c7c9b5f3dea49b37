package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/culvertmq/culvert/event"
)

// renewal is what a newer token changes on the open streams of its client. It
// travels as a signal, since they may be on any instance; one that gets lost costs
// the stream, which then ends as it would have.
type renewal struct {
	Expires time.Time `json:"expires"`
	Rooms   []string  `json:"rooms"`
	// Algorithm and Proof are of the token, see proof.
	Algorithm string `json:"algorithm"`
	Proof     []byte `json:"proof"`
}

const (
	signalToken  = "token"
	signalPrefix = "culvert:"
)

// renew serves POST /v1/{ns}/token: the token of this request takes the place of the
// ones that open streams of the client came with.
func (h *Handler) renew(c *call) error {
	if c.who.backend {
		return refuse(forbidden, "", "an API key does not expire: only a token can be renewed")
	}
	if h.keys.own != nil {
		return refuse(forbidden, "", "there are no tokens to renew: streams end with the session of the application, and go on in the next one")
	}
	r := renewal{Expires: c.who.expires, Rooms: c.who.rooms, Algorithm: c.who.verified.algorithm}
	r.Proof = h.keys.tokens.proof(c.who.verified.key, c.ns, c.who.client, &r)
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

// listen takes the signals out of volatile events and follows them.
func (s *stream) listen(events []*event.Event) []*event.Event {
	kept := events[:0]
	for _, e := range events {
		switch e.Name {
		case signalPrefix + signalToken:
			var r renewal
			if json.Unmarshal([]byte(e.Data), &r) == nil {
				s.renew(r)
			}
		default:
			kept = append(kept, e)
		}
	}
	return kept
}

// renew gives the stream the life of the newer token, if that allows what the
// stream reads.
func (s *stream) renew(r renewal) {
	if s.who.backend || !s.h.keys.tokens.proves(s.ns, s.who.client, &r) {
		return
	}
	who := s.who
	who.expires, who.rooms = r.Expires, r.Rooms
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

// withoutSignals is for a long poll: the next one comes with the newer token anyway.
func withoutSignals(events []*event.Event) []*event.Event {
	return (&stream{who: caller{backend: true}}).listen(events)
}
