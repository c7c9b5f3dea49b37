package culvert

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// framesOf reads all frames, as "event id data".
func framesOf(in io.Reader) (frames []string, err error) {
	r := newFrameReader(in)
	for {
		e, err := r.next()
		if err != nil {
			return frames, err
		}
		frames = append(frames, string(e.Event)+" "+string(e.ID)+" "+string(e.Data))
	}
}

func TestFrames(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"one":                 {"id: k:1\nevent: e\ndata: {}\n\n", "e k:1 {}"},
		"crlf":                {"id: k:1\r\nevent: e\r\ndata: {}\r\n\r\n", "e k:1 {}"},
		"no blank":            {"id:k:1\nevent:e\ndata:{}\n\n", "e k:1 {}"},
		"two":                 {"event: a\n\nevent: b\n\n", "a  |b  "},
		"comment and retry":   {": hi\n\nretry: 3\n\nevent: a\n: no\n\n", "a  "},
		"data of two lines":   {"data: 1\ndata: 2\n\n", "  1\n2"},
		"blank lines between": {"\n\n\nevent: a\n\n\n\nevent: b\n\n", "a  |b  "},
		"only one blank off":  {"data:  x\n\n", "   x"},
		"cut after a line":    {"event: a\n\nid: k:2\nevent: b\ndata: {}\n", "a  "},
		"cut in a line":       {"event: a\n\nid: k:2\nevent: b\ndata: {", "a  "},
		"cut in blank line":   {"event: a\n\nevent: b\r\n\r", "a  "},
		"nothing":             {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				frames, err := framesOf(in)
				if got := strings.Join(frames, "|"); got != c.want || !errors.Is(err, io.EOF) {
					t.Errorf("got %q, %v; want %q", got, err, c.want)
				}
			}
		})
	}
}

// TestLargeFrames: the largest events are read, and a frame larger than any
// event is refused instead of filling the memory.
func TestLargeFrames(t *testing.T) {
	large := strings.Repeat("x", 256<<10+4096)
	frames, err := framesOf(strings.NewReader(strings.Repeat("event: e\ndata: "+large+"\n\n", 5)))
	if len(frames) != 5 || frames[4] != "e  "+large || !errors.Is(err, io.EOF) {
		t.Errorf("%d frames, %v", len(frames), err)
	}
	_, err = framesOf(io.MultiReader(strings.NewReader("data: "), bytes.NewReader(make([]byte, 4*maxFrame))))
	if !errors.Is(err, errLongFrame) {
		t.Errorf("an endless frame: %v", err)
	}
}

// FuzzFrames: reading ends for any input, and cutting a stream only removes
// frames from its end.
func FuzzFrames(f *testing.F) {
	f.Add("id: k:1\nevent: e\ndata: {}\n\nid: k:2\n", 20)
	f.Add("\r\n\r\n\r\n", 3)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		all, err := framesOf(strings.NewReader(s))
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if cut < 0 || cut > len(s) {
			t.Skip()
		}
		some, _ := framesOf(strings.NewReader(s[:cut]))
		if len(some) > len(all) {
			t.Fatalf("%q has the frames %q, but cut at %d it has %q", s, all, cut, some)
		}
		for i := range some {
			if some[i] != all[i] {
				t.Fatalf("%q has the frames %q, but cut at %d it has %q", s, all, cut, some)
			}
		}
	})
}
