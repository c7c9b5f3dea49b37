package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/r3labs/sse/v2"
	"pgregory.net/rapid"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/event"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 123_999_999, time.FixedZone("", 3600))

func TestGoldenFrames(t *testing.T) {
	framed := func(room, name, data string, change func(*event.Event)) []byte {
		e := &event.Event{Log: "k3f9", Offset: 4711, Namespace: "default", Room: event.MustRoom(room), Name: name, Data: data, At: noon}
		if change != nil {
			change(e)
		}
		return EventFrame(e)
	}
	frames := [][]byte{
		Hello{Client: event.MustClient("alice"), Cursor: apitest.CursorOf("k3f9:4711"), Log: "k3f9", Heartbeat: 15 * time.Second, MaxAge: 3300 * time.Second, Retry: 1234 * time.Millisecond, ID: true, Settle: time.Second, At: noon}.Frame(),
		Hello{Cursor: apitest.CursorOf("k3f9:0"), Log: "k3f9", Heartbeat: 1500 * time.Millisecond, MaxAge: time.Minute, Retry: time.Second, Settle: 500 * time.Millisecond, At: noon}.Frame(),
		framed("lobby", "chat message", `{"text":"hi"}`, func(e *event.Event) { e.From = event.MustClient("alice") }),
		framed("*", "e", "null", nil),
		framed(`octo-org/"repo"\ü`, " leads with a space, ends with one ", `"line\nbreak"`, func(e *event.Event) { e.From = event.MustClient(`<"\>`) }),
		framed("@bob", "question", `"?"`, func(e *event.Event) { e.ReplyUntil = noon.Add(30 * time.Second) }),
		framed("@bob", "bytes", `"AAECAw=="`, func(e *event.Event) { e.Binary = true }),
		GapFrame(&event.Gap{From: apitest.CursorOf("k3f9:1"), To: apitest.CursorOf("k3f9:4000"), Reason: event.GapPruned}),
		GapFrame(&event.Gap{From: apitest.CursorOf("old1:99"), To: apitest.CursorOf("k3f9:0"), Reason: event.GapLog}),
		HeartbeatFrame(apitest.CursorOf("k3f9:4712"), noon),
		ReconnectFrame("max_age", 500*time.Millisecond),
		ReconnectFrame("drain", 2750*time.Millisecond),
	}
	golden(t, "frames.txt", bytes.Join(frames, nil))
}

// nasty draws strings that would break a careless encoder of frames.
var nasty = rapid.Custom(func(t *rapid.T) string {
	pieces := rapid.SliceOfN(rapid.SampledFrom([]string{
		"\n", "\r", "\r\n", "\n\n", "\r\r", "\x00", "\u2028", "\u2029", "\u0085", "\ufeff", "\v", "\f", "\x7f",
		"\ndata:", "\nid: 9:9\n", "\nevent: culvert:reconnect\n", "\nretry: 0", ":", ": ", " ", "data", "data:", "id:", "\"", "\\", "\\n", "\\u000a",
		"{", "}", "a", "ü", "\xff", "\xc3", "😀", "</script>", "culvert:", `","offset":1,"x":"`,
	}), 0, 12)
	return strings.Join(pieces.Draw(t, "pieces"), "")
})

// TestForgedFrameIsImpossible encodes events with any strings as names, even those that the queue refuses, and
// with any JSON value as data. A standard parser and the reader of r3labs must find exactly the frames that
// were made.
func TestForgedFrameIsImpossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := nasty.Draw(t, "name")
		text := nasty.Draw(t, "text")
		data, err := json.Marshal(map[string]string{"k" + text: text})
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "loose") { // white space around the tokens
			data = bytes.ReplaceAll(data, []byte(":"), []byte("\r\n:\n"))
			if !json.Valid(data) {
				t.Skip("the text held a colon")
			}
		}
		e := &event.Event{Log: "k3f9", Offset: 4711, Room: event.Everyone(), Name: name, Data: string(data), At: noon}
		stream := string(EventFrame(e)) + string(HeartbeatFrame(apitest.CursorOf("k3f9:4712"), noon))

		frames := apitest.ParseFrames(stream)
		if len(frames) != 2 || frames[1].Event != "culvert:heartbeat" || frames[1].ID != "k3f9:4712" {
			t.Fatalf("%q is parsed as %+v", stream, frames)
		}
		if f := frames[0]; f.ID != "k3f9:4711" || f.Retry != "" || name != "" && f.Event != disarmed(name) {
			t.Fatalf("%q is parsed as %+v", stream, f)
		}
		var got struct {
			Offset int64
			Data   json.RawMessage
		}
		if err := json.Unmarshal([]byte(frames[0].Data), &got); err != nil || got.Offset != 4711 || !apitest.SameJSON(got.Data, data) {
			t.Fatalf("%q: %v", frames[0].Data, err)
		}
		if !bytes.Equal(EventJSON(e), []byte(frames[0].Data)) {
			t.Fatalf("the poll's part is %q, the frame's %q", EventJSON(e), frames[0].Data)
		}
		if n := countR3labs(t, stream); n != 2 {
			t.Fatalf("r3labs reads %d frames of %q", n, stream)
		}
	})
}

// disarmed returns what the encoder makes of a name that the queue would refuse.
func disarmed(name string) string {
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return ' '
		}
		return r
	}, name), "\ufffd")
}

func countR3labs(t *rapid.T, stream string) (n int) {
	r := sse.NewEventStreamReader(strings.NewReader(stream), 1<<20)
	for {
		_, err := r.ReadEvent()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
}

func TestStringsAreJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(nasty, rapid.String()).Draw(t, "s")
		var got string
		b := AppendString(nil, s)
		if err := json.Unmarshal(b, &got); err != nil || got != strings.ToValidUTF8(s, "\ufffd") && !bytes.Contains([]byte(s), []byte{0xff}) && !bytes.Contains([]byte(s), []byte{0xc3}) {
			t.Fatalf("%q became %s: %v", s, b, err)
		}
		if bytes.ContainsAny(b, "\r\n\x00\u2028\u2029") {
			t.Fatalf("%q became %q", s, b)
		}
	})
}
