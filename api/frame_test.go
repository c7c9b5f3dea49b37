package api

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

	"github.com/culvertmq/culvert/event"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 123_999_999, time.FixedZone("", 3600))

func TestGoldenFrames(t *testing.T) {
	framed := func(room, name, data string, change func(*event.Event)) []byte {
		e := &event.Event{Log: "k3f9", Offset: 4711, Namespace: "default", Room: event.MustRoom(room), Name: name, Data: data, At: noon}
		if change != nil {
			change(e)
		}
		return frameOf(e)
	}
	frames := [][]byte{
		hello{client: event.MustClient("alice"), cursor: cursorOf("k3f9:4711"), log: "k3f9", heartbeat: 15 * time.Second, maxAge: 3300 * time.Second, retry: 1234 * time.Millisecond, id: true, settle: time.Second, at: noon}.frame(),
		hello{cursor: cursorOf("k3f9:0"), log: "k3f9", heartbeat: 1500 * time.Millisecond, maxAge: time.Minute, retry: time.Second, settle: 500 * time.Millisecond, at: noon}.frame(),
		framed("lobby", "chat message", `{"text":"hi"}`, func(e *event.Event) { e.From = event.MustClient("alice") }),
		framed("*", "e", "null", nil),
		framed(`octo-org/"repo"\ü`, " leads with a space, ends with one ", `"line\nbreak"`, func(e *event.Event) { e.From = event.MustClient(`<"\>`) }),
		framed("@bob", "question", `"?"`, func(e *event.Event) { e.ReplyUntil = noon.Add(30 * time.Second) }),
		framed("@bob", "bytes", `"AAECAw=="`, func(e *event.Event) { e.Binary = true }),
		gapFrame(&event.Gap{From: cursorOf("k3f9:1"), To: cursorOf("k3f9:4000"), Reason: event.GapPruned}),
		gapFrame(&event.Gap{From: cursorOf("old1:99"), To: cursorOf("k3f9:0"), Reason: event.GapLog}),
		heartbeatFrame(cursorOf("k3f9:4712"), noon),
		reconnectFrame("max_age", 500*time.Millisecond),
		reconnectFrame("drain", 2750*time.Millisecond),
	}
	golden(t, "frames.txt", bytes.Join(frames, nil))
}

// nasty draws text out of what breaks framings.
var nasty = rapid.Custom(func(t *rapid.T) string {
	pieces := rapid.SliceOfN(rapid.SampledFrom([]string{
		"\n", "\r", "\r\n", "\n\n", "\r\r", "\x00", "\u2028", "\u2029", "\u0085", "\ufeff", "\v", "\f", "\x7f",
		"\ndata:", "\nid: 9:9\n", "\nevent: culvert:reconnect\n", "\nretry: 0", ":", ": ", " ", "data", "data:", "id:", "\"", "\\", "\\n", "\\u000a",
		"{", "}", "a", "ü", "\xff", "\xc3", "😀", "</script>", "culvert:", `","offset":1,"x":"`,
	}), 0, 12)
	return strings.Join(pieces.Draw(t, "pieces"), "")
})

// TestForgedFrameIsImpossible gives the encoder anything as names, also what the
// queue would never let in, and data that are any JSON value: what a standard
// parser and r3labs' reader see is always just the frames that were made.
func TestForgedFrameIsImpossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := nasty.Draw(t, "name")
		text := nasty.Draw(t, "text")
		data, err := json.Marshal(map[string]string{"k" + text: text})
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "loose") { // white space that is no part of the value
			data = bytes.ReplaceAll(data, []byte(":"), []byte("\r\n:\n"))
			if !json.Valid(data) {
				t.Skip("the text held a colon")
			}
		}
		e := &event.Event{Log: "k3f9", Offset: 4711, Room: event.Everyone, Name: name, Data: string(data), At: noon}
		stream := string(frameOf(e)) + string(heartbeatFrame(cursorOf("k3f9:4712"), noon))

		frames := parseSSE(stream)
		if len(frames) != 2 || frames[1].event != "culvert:heartbeat" || frames[1].id != "k3f9:4712" {
			t.Fatalf("%q is parsed as %+v", stream, frames)
		}
		if f := frames[0]; f.id != "k3f9:4711" || f.retry != "" || name != "" && f.event != disarmed(name) {
			t.Fatalf("%q is parsed as %+v", stream, f)
		}
		var got struct {
			Offset int64
			Data   json.RawMessage
		}
		if err := json.Unmarshal([]byte(frames[0].data), &got); err != nil || got.Offset != 4711 || !sameJSON(got.Data, data) {
			t.Fatalf("%q: %v", frames[0].data, err)
		}
		if !bytes.Equal(eventJSON(e), []byte(frames[0].data)) {
			t.Fatalf("the poll's part is %q, the frame's %q", eventJSON(e), frames[0].data)
		}
		if n := countR3labs(t, stream); n != 2 {
			t.Fatalf("r3labs reads %d frames of %q", n, stream)
		}
	})
}

// disarmed is what becomes of a name no queue would hold.
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
		b := appendString(nil, s)
		if err := json.Unmarshal(b, &got); err != nil || got != strings.ToValidUTF8(s, "\ufffd") && !bytes.Contains([]byte(s), []byte{0xff}) && !bytes.Contains([]byte(s), []byte{0xc3}) {
			t.Fatalf("%q became %s: %v", s, b, err)
		}
		if bytes.ContainsAny(b, "\r\n\x00\u2028\u2029") {
			t.Fatalf("%q became %q", s, b)
		}
	})
}
