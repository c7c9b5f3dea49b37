package culvert

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// wayTime is how long an answer may be on the way, beside what the server takes for it.
const wayTime = 10 * time.Second

// Message is an event to emit.
type Message struct {
	Event string
	// Data is sent as JSON; []byte as binary, json.RawMessage as it is.
	Data any
	// Rooms it is for; none: everyone in the namespace.
	Rooms []string
	// Except are rooms whose clients do not get it; "@me" is the sender.
	Except []string
	// Key is the idempotency key: however often it is sent, it is stored once.
	// Empty: a random one.
	Key string
	// Volatile is not stored: for those connected now, or for nobody.
	Volatile bool
}

// Receipt says where an event was stored. It is empty for volatile events.
type Receipt struct {
	Offset    int64  `json:"offset,omitempty"`
	Cursor    string `json:"cursor,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"` // its key was there before
}

// Reply is an answer to an event that asked for replies.
type Reply struct {
	From   string          `json:"from"` // empty: the backend
	Data   json.RawMessage `json:"data"`
	Binary []byte          `json:"binary"`
}

// Ask says which replies are wanted.
type Ask struct {
	// Timeout is how long replies are taken; 0: 30 s.
	Timeout time.Duration
	// Count is how many are wanted; 0: one from everyone who is there.
	Count int
}

// Emit stores an event. It is tried again until the server has it, refuses it, or
// ctx ends, and is stored once. A volatile event is sent once.
func (c *Client) Emit(ctx context.Context, m Message) (Receipt, error) {
	var r Receipt
	body, err := json.Marshal(m.body())
	if err != nil {
		return r, err
	}
	request := Request{Method: http.MethodPost, Path: "/emit", Body: body}
	if m.Volatile {
		return r, c.call(ctx, request, callTime, &r)
	}
	err = c.insist(ctx, request, &r)
	return r, err
}

// EmitWithReply stores an event and returns the replies to it, once as many have
// come as are wanted. With a Count that is not reached in time the error is
// ErrNoReply, beside the replies there are.
func (c *Client) EmitWithReply(ctx context.Context, m Message, a Ask) ([]Reply, error) {
	if a.Timeout <= 0 {
		a.Timeout = 30 * time.Second
	}
	body := m.body()
	ask := map[string]any{"timeout": a.Timeout.Seconds()}
	if a.Count > 0 {
		ask["count"] = a.Count
	}
	body["reply"] = ask
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(a.Timeout)
	for {
		// Whatever cuts such a request only makes it come again: a repeat of the key
		// waits for the replies to the first.
		wait := min(max(time.Until(until), 0), 20*time.Second)
		var answer struct {
			Replies  []Reply `json:"replies"`
			Complete bool    `json:"complete"`
		}
		r := Request{Method: http.MethodPost, Path: "/emit", Body: raw, Query: url.Values{
			"wait": {strconv.FormatFloat(wait.Seconds(), 'f', 3, 64)},
		}}
		err := c.Retry(ctx, func() error { return c.call(ctx, r, wait+wayTime, &answer) })
		switch {
		case err != nil:
			return nil, err
		case answer.Complete || time.Now().After(until):
			if len(answer.Replies) < a.Count {
				err = ErrNoReply
			}
			return answer.Replies, err
		}
	}
}

// body is the message as the wire has it.
func (m Message) body() map[string]any {
	body := map[string]any{"event": m.Event}
	setData(body, m.Data)
	if len(m.Rooms) > 0 {
		body["rooms"] = m.Rooms
	}
	if len(m.Except) > 0 {
		body["except"] = m.Except
	}
	switch {
	case m.Volatile:
		body["volatile"] = true
	case m.Key != "":
		body["key"] = m.Key
	default:
		body["key"] = "go-" + rand.Text()
	}
	return body
}

// setData puts a payload where the wire has it.
func setData(body map[string]any, data any) {
	if b, ok := data.([]byte); ok {
		body["binary"] = b // encoding/json makes base64 with padding of it
		return
	}
	if data != nil {
		body["data"] = data
	}
}
