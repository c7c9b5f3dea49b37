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

// wayTime is how long an answer may take on the network, in addition to the server's time.
const wayTime = 10 * time.Second

// Message is an event to emit.
type Message struct {
	Event string
	// Data is sent as JSON; []byte is sent as binary, json.RawMessage unchanged.
	Data any
	// Rooms are the rooms it is for; none: everyone in the namespace.
	Rooms []string
	// Except are rooms whose clients do not get the event; "@me" is the sender.
	Except []string
	// Key is the idempotency key: however often the event is sent, it is stored once.
	// Empty: a random key.
	Key string
	// Volatile: the event is not stored, and goes only to clients that are connected now.
	Volatile bool
}

// Receipt says where an event was stored. It is empty for volatile events.
type Receipt struct {
	Offset    int64  `json:"offset,omitempty"`
	Cursor    string `json:"cursor,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"` // its key was used before
}

// Reply is an answer to an event that asked for replies.
type Reply struct {
	From   string          `json:"from"` // empty: the backend
	Data   json.RawMessage `json:"data"`
	Binary []byte          `json:"binary"`
}

// Ask says which replies an event asks for.
type Ask struct {
	// Timeout is how long replies are taken; 0: 30 s.
	Timeout time.Duration
	// Count is how many replies are wanted; 0: one from each client that is online.
	Count int
}

// Emit stores an event. It tries again until the server has stored or refused the event, or
// ctx ends; the event is stored once. A volatile event is sent once.
func (c *Client) Emit(ctx context.Context, m Message) (Receipt, error) {
	var r Receipt
	body, err := json.Marshal(m.body())
	if err != nil {
		return r, err
	}
	request := Request{Method: http.MethodPost, Path: "/emit", Body: body}
	if m.Volatile {
		return r, c.requests.call(ctx, request, callTime, &r)
	}
	err = c.requests.insist(ctx, request, &r)
	return r, err
}

// EmitWithReply stores an event and returns the replies to it when all wanted ones have
// come. If there is a Count that is not reached in time, it returns the replies so far and the
// error ErrNoReply.
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
		// If such a request is cut, it is simply repeated: a repeated key
		// waits for the replies to the first emit.
		wait := min(max(time.Until(until), 0), 20*time.Second)
		var answer struct {
			Replies  []Reply `json:"replies"`
			Complete bool    `json:"complete"`
		}
		r := Request{Method: http.MethodPost, Path: "/emit", Body: raw, Query: url.Values{
			"wait": {strconv.FormatFloat(wait.Seconds(), 'f', 3, 64)},
		}}
		err := c.requests.retry(ctx, func() error { return c.requests.call(ctx, r, wait+wayTime, &answer) })
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

// body returns the message in the form of the protocol.
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

// setData puts data into the body, as the protocol requires it.
func setData(body map[string]any, data any) {
	if b, ok := data.([]byte); ok {
		body["binary"] = b // encoding/json encodes it as base64 with padding
		return
	}
	if data != nil {
		body["data"] = data
	}
}
