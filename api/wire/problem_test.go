package wire

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
)

func TestGoldenProblems(t *testing.T) {
	var b bytes.Buffer
	for _, k := range Kinds {
		b.Write(Refuse(k, "", `says "why"`).AppendJSON(nil, 0))
		b.WriteByte('\n')
	}
	b.Write(Refuse(Invalid, "events[3].room", "must not be empty").AppendJSON(nil, 0))
	b.WriteByte('\n')
	b.Write(Refuse(TooLarge, "", "the line is too long").AppendJSON(nil, 12))
	b.WriteByte('\n')
	for _, k := range Kinds {
		fmt.Fprintf(&b, "\n--- %s %s\n%s\n", k.Slug, http.StatusText(k.Status), k.Text)
	}
	golden(t, "problems.txt", b.Bytes())
}
