package api

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
)

func TestGoldenProblems(t *testing.T) {
	var b bytes.Buffer
	for _, k := range kinds {
		b.Write(refuse(k, "", `says "why"`).appendJSON(nil, 0))
		b.WriteByte('\n')
	}
	b.Write(refuse(invalid, "events[3].room", "must not be empty").appendJSON(nil, 0))
	b.WriteByte('\n')
	b.Write(refuse(tooLarge, "", "the line is too long").appendJSON(nil, 12))
	b.WriteByte('\n')
	for _, k := range kinds {
		fmt.Fprintf(&b, "\n--- %s %s\n%s\n", k.slug, http.StatusText(k.status), k.text)
	}
	golden(t, "problems.txt", b.Bytes())
}
