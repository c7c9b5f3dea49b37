package event_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/culvertmq/culvert/event"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("é", 100) // 200 bytes
	for _, c := range []struct {
		name  string
		room  bool
		space bool // as a namespace
	}{
		{"lobby", true, true},
		{"octo-org/octo-repo", true, false},
		{"@bob", true, false},
		{"*", true, false},
		{".", false, false},
		{"..", false, false},
		{"...", true, false},
		{".a", true, false},
		{"a/..", true, false},
		{"@..", true, false}, // not a step in a path, and not the room of any client
		{" with spaces ", true, false},
		{long, true, false},
		{long + "x", false, false},
		{"", false, false},
		{"a\nb", false, false},
		{"a\rb", false, false},
		{"a\x00b", false, false},
		{"a\x7fb", false, false},
		{"a\u0085b", false, false},
		{"a\u2028b", false, false},
		{"a\xffb", false, false},
		{"-a", true, false},
		{"0-a", true, true},
		{"Ab", true, false},
		{strings.Repeat("a", 63), true, true},
		{strings.Repeat("a", 64), true, false},
	} {
		if _, err := event.ParseRoom(c.name); (err == nil) != c.room {
			t.Errorf("room %q: %v", c.name, err)
		}
		if _, err := event.ParseNamespace(c.name); (err == nil) != c.space {
			t.Errorf("namespace %q: %v", c.name, err)
		}
	}
	var invalid *event.InvalidError
	for _, dots := range []string{".", ".."} {
		if _, err := event.ParseClient(dots); !errors.As(err, &invalid) || invalid.Field != "client" {
			t.Errorf("client %q: %v", dots, err)
		}
		if _, err := event.ParseKey(dots); !errors.As(err, &invalid) || invalid.Field != "key" {
			t.Errorf("key %q: %v", dots, err)
		}
		if _, err := event.ParseEventName(dots); err != nil {
			t.Errorf("event %q, which is in no path: %v", dots, err)
		}
	}
	if _, err := event.ParseEventName("culvert:hello"); !errors.As(err, &invalid) || invalid.Field != "event" {
		t.Errorf("reserved event name: %v", err)
	}
}

func TestData(t *testing.T) {
	nest := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		in, want string
		err      error // nil with want "": an InvalidError without a special Err
	}{
		{"", "null", nil},
		{`{"a": [1, 2.50, "x y"]}`, `{"a":[1,2.50,"x y"]}`, nil},
		{"{\n\t\"a\":\r\n 1}", `{"a":1}`, nil},
		{`"a\nb"`, `"a\nb"`, nil},
		{`1e400`, `1e400`, nil},
		{`"\ud83d\ude00"`, `"\ud83d\ude00"`, nil},
		{`"\\u0000"`, `"\\u0000"`, nil},
		{nest(64), nest(64), nil},
		{`"` + strings.Repeat("[", 99) + `"`, `"` + strings.Repeat("[", 99) + `"`, nil},
		{nest(65), "", event.ErrTooDeep},
		{`"\u0000"`, "", nil},
		{`{"\u0000":1}`, "", nil},
		{`"\ud83d"`, "", nil},
		{`"\ud83d\n"`, "", nil},
		{`"\ude00"`, "", nil},
		{`"\ud83d\u0041"`, "", nil},
		{"\"\xff\"", "", nil},
		{`{"a":1}{`, "", event.ErrSyntax},
		{`{'a':1}`, "", event.ErrSyntax},
		{"\"a\nb\"", "", event.ErrSyntax},
		{`NaN`, "", event.ErrSyntax},
		{`"` + strings.Repeat("x", event.MaxData-2) + `"`, `"` + strings.Repeat("x", event.MaxData-2) + `"`, nil},
		{`"` + strings.Repeat("x", event.MaxData-1) + `"`, "", event.ErrTooLarge},
	} {
		d, err := event.ParseData([]byte(c.in))
		var invalid *event.InvalidError
		switch {
		case c.want != "" && (err != nil || d.JSON() != c.want):
			t.Errorf("%.40q: %.40q, %v", c.in, d.JSON(), err)
		case c.want == "" && !errors.As(err, &invalid):
			t.Errorf("%.40q is accepted (%v)", c.in, err)
		case c.want == "" && !errors.Is(invalid.Err, c.err):
			t.Errorf("%.40q: %v, want %v", c.in, invalid.Err, c.err)
		}
	}
}

func TestBinary(t *testing.T) {
	for in, ok := range map[string]bool{
		"": true, "AAEC": true, "AA==": true, "AAE": false, "A A=": false, "AA==\n": false, "_-8=": false, "AB==": false,
		strings.Repeat("A", event.MaxData): false,
	} {
		d, err := event.ParseBinary(in)
		if (err == nil) != ok || ok && (d.JSON() != `"`+in+`"` || !d.Binary()) {
			t.Errorf("%.20q: %q, %v", in, d.JSON(), err)
		}
	}
}

func TestCursor(t *testing.T) {
	for in, ok := range map[string]bool{
		"k3f9:4711": true, "k3f9:0": true, "k3f9:9007199254740991": true,
		"": false, "k3f9": false, ":1": false, "k3f9:": false, "k3f9:-1": false, "k3f9:+1": false, "k3f9:01": false,
		"k3f9:9007199254740992": false, "K3F9:1": false, "k3f9:1:2": false, "k3f9:1 ": false, "k\n:1": false,
		strings.Repeat("a", 33) + ":1": false,
	} {
		c, err := event.ParseCursor(in)
		if (err == nil) != ok || ok && c.String() != in {
			t.Errorf("%q: %v, %v", in, c, err)
		}
	}
}

// What ParseData accepts is one line that decodes to the same value.
func FuzzData(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\u00e9\ud83d\ude00"]}`, "[\r\n1]", `"\u0000"`, "\"\u2028\"", `[[[[]]]]`, `"\ud800"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := event.ParseData(raw)
		if err != nil {
			return
		}
		text := d.JSON()
		if strings.ContainsAny(text, "\r\n\x00") || !utf8.ValidString(text) {
			t.Fatalf("%q is not one line of UTF-8", text)
		}
		if len(raw) == 0 {
			return
		}
		var in, out any
		if json.Unmarshal(raw, &in) != nil {
			return // a number beyond float64
		}
		if err := json.Unmarshal([]byte(text), &out); err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%q became %q (%v)", raw, text, err)
		}
	})
}

// An accepted cursor is written back unchanged.
func FuzzCursor(f *testing.F) {
	f.Add("k3f9:4711")
	f.Add("k3f9:0009")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := event.ParseCursor(s); err == nil && c.String() != s {
			t.Fatalf("%q became %q", s, c)
		}
	})
}

// An accepted name stays inside a line of an event stream.
func FuzzName(f *testing.F) {
	f.Add("lobby")
	f.Add("a\u2029b")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := event.ParseRoom(s)
		if err != nil {
			return
		}
		if r.String() != s || s == "" || len(s) > event.MaxRoom || !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00\u0085\u2028\u2029") {
			t.Fatalf("accepted %q", s)
		}
	})
}

// Constructors for constants return the same as the checked ones, and panic if those fail.
func TestMustConstructors(t *testing.T) {
	if event.MustNamespace("n").String() != "n" || event.MustRoom("r").String() != "r" || event.MustClient("c").String() != "c" ||
		event.MustEventName("e").String() != "e" || event.MustKey("k").String() != "k" || event.MustData(` { "a" : 1 } `).JSON() != `{"a":1}` {
		t.Error("a Must function and its Parse function differ")
	}
	for name, bad := range map[string]func(){
		"namespace": func() { event.MustNamespace("A") },
		"room":      func() { event.MustRoom("") },
		"client":    func() { event.MustClient("me") },
		"event":     func() { event.MustEventName("culvert:x") },
		"key":       func() { event.MustKey("..") },
		"data":      func() { event.MustData("{") },
	} {
		func() {
			defer func() {
				if err, ok := recover().(*event.InvalidError); !ok || err.Field != name {
					t.Errorf("%s: %v", name, err)
				}
			}()
			bad()
		}()
	}
}
