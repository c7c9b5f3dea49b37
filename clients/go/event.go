package culvert

import (
	"encoding/json"
	"slices"
	"time"
)

// Event is a received event.
type Event struct {
	Offset int64           `json:"offset"` // position in the log; 0 for volatile events, which are not stored
	Room   string          `json:"room"`
	Name   string          `json:"event"`
	Data   json.RawMessage `json:"data"`
	Binary []byte          `json:"binary"` // instead of Data
	From   string          `json:"from"`   // the client that sent it; empty for a backend
	At     time.Time       `json:"-"`
	Asks   *Asks           `json:"reply"` // the sender asks for replies

	// Raw is the JSON of the event as it was received.
	Raw json.RawMessage `json:"-"`
}

// Asks is present in an event whose sender asks for replies.
type Asks struct {
	Until time.Time `json:"until"` // later replies are refused
}

// Decode reads the data into v.
func (e *Event) Decode(v any) error { return json.Unmarshal(e.Data, v) }

// parseEvent reads an event from the JSON of the protocol.
func parseEvent(raw []byte) (*Event, error) {
	e := &Event{Raw: slices.Clone(raw)}
	wire := struct {
		*Event
		At string `json:"at"`
	}{Event: e}
	if err := json.Unmarshal(e.Raw, &wire); err != nil {
		return nil, foreign("an event in it is not as expected: %v", err)
	}
	// If a later server writes another form, the event must not be lost for that.
	e.At, _ = time.Parse(time.RFC3339Nano, wire.At)
	return e, nil
}
