package jsontext_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/culvertmq/culvert/internal/jsontext"
)

// FuzzValid compares Valid with encoding/json, which also accepts text that is not UTF-8.
func FuzzValid(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-0.5e+7,true,false,null,"\u00e9\n\""]}`, `01`, `-`, `1.`, `1e`, `"\x"`, `"\u12g4"`, `"\u12`, "\"\x7f\"", "\"\x1f\"",
		`{"a" : 1 , "b":[]}`, `[1,]`, `[,1]`, `{}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1,}`, "1\n", " \r\n\t[ \n1 , 2 ]\r ", " ", "", `"é"`, "\"\xff\"",
		`1 2`, `[1`, `"`, `"\`, `nul`, `nulll`, `-01`, `0.0e-0`, `[[[[]]]]`, "\u00a01", "\ufeff1", "\v1", "[1]\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want := json.Valid(text) && utf8.Valid(text)
		if got := jsontext.Valid(text); got != want && (got || strings.Count(string(text), "[")+strings.Count(string(text), "{") < 900) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
		if got, want := jsontext.ValidLine(text), jsontext.Valid(text) && !bytes.ContainsAny(text, "\r\n"); got != want {
			t.Errorf("in one line: %q: %v, want %v", text, got, want)
		}
	})
}

// The stack is bounded.
func TestNesting(t *testing.T) {
	for depth, want := range map[int]bool{999: true, 1_000_000: false} {
		if got := jsontext.Valid([]byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))); got != want {
			t.Errorf("%d deep: %v", depth, got)
		}
	}
}

var bodies = map[string]string{
	"text":    `{"text":"` + strings.Repeat("lorem ipsum ", 80) + `","n":[1,2,3]}`,
	"numbers": `[` + strings.Repeat(`{"x":12.5,"y":-3},`, 60) + `0]`,
	"long":    `"` + strings.Repeat("x", 256<<10) + `"`,
}

// BenchmarkValid compares Valid with encoding/json.
func BenchmarkValid(b *testing.B) {
	for name, body := range bodies {
		for by, valid := range map[string]func([]byte) bool{"ours": jsontext.Valid, "encoding": json.Valid} {
			b.Run(name+"/"+by, func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					valid([]byte(body))
				}
			})
		}
	}
}
