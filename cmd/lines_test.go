package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/iotest"
)

// chunksOf reads the whole input.
func chunksOf(t *testing.T, in io.Reader) (chunks []chunk) {
	t.Helper()
	for c := range readChunks(t.Context(), in, "k-") {
		chunks = append(chunks, c)
	}
	return chunks
}

// TestChunks: every line comes once and in order, and requests are within their bounds, in whatever pieces the
// input arrives.
func TestChunks(t *testing.T) {
	const n = 1700
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `{"event":"e","data":%q}`+"\n", strings.Repeat("x", i%7*100))
		if i%100 == 0 {
			text.WriteString("  \r\n") // blank lines count but are not sent
		}
	}
	for name, in := range map[string]io.Reader{
		"whole":      strings.NewReader(text.String()),
		"byte":       iotest.OneByteReader(strings.NewReader(text.String())),
		"half reads": iotest.HalfReader(strings.NewReader(text.String())),
		"no newline": strings.NewReader(strings.TrimSpace(text.String())),
	} {
		t.Run(name, func(t *testing.T) {
			seen, read, last := 0, 0, 0
			for _, c := range chunksOf(t, in) {
				size := 0
				for _, l := range c.lines {
					seen++
					if l.number <= last {
						t.Fatalf("line %d after line %d", l.number, last)
					}
					last = l.number
					size += len(l.body) + 1
				}
				if len(c.lines) > chunkLines || size > chunkBytes || size != c.size || len(c.faults) > 0 {
					t.Fatalf("chunk of %d lines, %d bytes (counted %d), faults %v", len(c.lines), size, c.size, c.faults)
				}
				read += c.read
				if c.err != nil && !errors.Is(c.err, io.EOF) {
					t.Fatal(c.err)
				}
			}
			if want := n + n/100; seen != n || last < want-1 || read < text.Len()-1 {
				t.Errorf("%d lines up to number %d in %d bytes", seen, last, read)
			}
		})
	}
}

func TestChunkBytes(t *testing.T) {
	big := `{"data":"` + strings.Repeat("x", 400<<10) + `"}`
	long := `{"data":"` + strings.Repeat("x", 3<<20) + `"}`
	chunks := chunksOf(t, strings.NewReader(strings.Join([]string{big, big, big, long, "[]", "{", big}, "\n")))
	var got []string
	for _, c := range chunks {
		for _, l := range c.lines {
			got = append(got, fmt.Sprint(l.number))
		}
		for _, f := range c.faults {
			got = append(got, fmt.Sprintf("fault %d", f.number))
		}
		if c.size > chunkBytes {
			t.Errorf("a request of %d bytes", c.size)
		}
	}
	if got, want := strings.Join(got, " "), "1 2 3 fault 4 fault 5 fault 6 7"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestReadError: the lines read before an error are sent; then the error is reported.
func TestReadError(t *testing.T) {
	broken := errors.New("broken")
	chunks := chunksOf(t, io.MultiReader(strings.NewReader("{}\n{}\n"), iotest.ErrReader(broken)))
	lines := 0
	for _, c := range chunks {
		lines += len(c.lines)
	}
	if last := chunks[len(chunks)-1]; lines != 2 || !errors.Is(last.err, broken) {
		t.Errorf("%d lines, then %v", lines, last.err)
	}
}

func FuzzWithKey(f *testing.F) {
	for _, s := range []string{`{}`, `{ "a": 1 }`, `{"key":"mine"}`, `{"volatile":true}`, `[]`, `null`, `{"a":{"key":1}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		raw := strings.TrimSpace(s)
		var before, after map[string]json.RawMessage
		object := json.Unmarshal([]byte(raw), &before) == nil && before != nil
		body, err := withKey([]byte(raw), "generated")
		if (err == nil) != object {
			t.Fatalf("withKey(%q): %v", raw, err)
		}
		if err != nil {
			return
		}
		if err := json.Unmarshal(body, &after); err != nil {
			t.Fatalf("withKey(%q) = %q: %v", raw, body, err)
		}
		if _, own := before["key"]; !own && string(before["volatile"]) != "true" {
			if string(after["key"]) != `"generated"` {
				t.Fatalf("withKey(%q) = %q", raw, body)
			}
			delete(after, "key")
		}
		if !maps.EqualFunc(before, after, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Fatalf("withKey(%q) = %q", raw, body)
		}
	})
}
