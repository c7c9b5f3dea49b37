package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// printedEvent has the fields of an event that listen shows.
type printedEvent struct {
	Offset int64           `json:"offset"`
	Room   string          `json:"room"`
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
	Binary string          `json:"binary"`
	From   string          `json:"from"`
	At     string          `json:"at"`
}

// printer writes events, one on each line.
type printer struct {
	out  io.Writer
	json bool
}

// print writes the event whose JSON is raw, in one write.
func (p printer) print(raw []byte) error {
	text := string(raw)
	if !p.json {
		var e printedEvent
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		text = e.String()
	}
	_, err := io.WriteString(p.out, text+"\n")
	return err
}

// String returns the event as one line for a person, such as
//
//	2026-11-23T05:40:00.123Z 4711 lobby "chat message" alice {"text":"hi"}
func (e printedEvent) String() string {
	data := string(e.Data)
	if e.Binary != "" {
		data = "base64:" + e.Binary
	}
	from := "-"
	if e.From != "" {
		from = word(e.From)
	}
	return fmt.Sprintf("%s %d %s %s %s %s", printable(e.At), e.Offset, word(e.Room), word(e.Event), from, printable(data))
}

// word returns a name as one word of a line: quoted if it contains blanks.
func word(s string) string {
	s = printable(s)
	if strings.ContainsAny(s, " \"") {
		return strconv.Quote(s)
	}
	return s
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
