package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"hash"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Hash identifies the content of an emit: it distinguishes a retry from a key that is used again with another
// body. culvert.content_hash returns the same hash, because the same event may come by HTTP and by SQL. Rooms
// are hashed as sets, and all JSON texts of one value have one hash. Every part is written with its length, so
// that no two contents have the same bytes.
func (e *Emit) Hash() []byte {
	h := sha256.New()
	part(h, roomSet(e.Addressed()))
	part(h, roomSet(e.Except))
	part(h, e.Event.String())
	part(h, e.From.String())
	part(h, canonical(e.Data.JSON()))
	special := ""
	if e.Data.Binary() {
		special = "binary"
	}
	if e.Reply.Wanted() {
		special += " reply " + strconv.Itoa(int(e.Reply.Milliseconds())) + " " + strconv.Itoa(e.Reply.Count)
	}
	part(h, special)
	return h.Sum(nil)
}

func part(h hash.Hash, s string) {
	h.Write(append(strconv.AppendInt(make([]byte, 0, 8), int64(len(s)), 10), ':'))
	h.Write([]byte(s))
}

func roomSet(rooms []Room) string {
	var b strings.Builder
	for _, r := range UniqueRooms(rooms) {
		b.WriteString(strconv.Itoa(len(r.String())))
		b.WriteByte(':')
		b.WriteString(r.String())
	}
	return b.String()
}

// canonical returns one text for all texts of a JSON value: that of Postgres' jsonb, whose numbers have no
// exponents, but without the zeros that jsonb keeps at the end of fractions.
//
// 1e100000 is short, but its text without an exponent is long. A value whose text would be longer than data may
// be cannot come by SQL; its numbers are written with exponents.
func canonical(text string) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return text // Data is always valid
	}
	c := canon{plain: true}
	if c.value(v); c.buf.Len() > MaxData {
		c = canon{}
		c.buf.WriteString("exponents ") // no JSON text
		c.value(v)
	}
	return c.buf.String()
}

// canon writes canonical text.
type canon struct {
	plain bool // numbers without exponents, until the text is too long
	buf   bytes.Buffer
}

func (c *canon) value(v any) {
	if c.plain && c.buf.Len() > MaxData {
		return
	}
	switch v := v.(type) {
	case nil:
		c.buf.WriteString("null")
	case bool:
		c.buf.WriteString(strconv.FormatBool(v))
	case json.Number:
		c.number(v.String())
	case string:
		c.text(v)
	case []any:
		for i, item := range v {
			c.buf.WriteString([]string{"[", ", "}[min(i, 1)])
			c.value(item)
		}
		c.buf.WriteString([]string{"[]", "]"}[min(len(v), 1)])
	case map[string]any:
		// jsonb's order: shorter keys first.
		keys := slices.SortedFunc(maps.Keys(v), func(a, b string) int {
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			return strings.Compare(a, b)
		})
		for i, key := range keys {
			c.buf.WriteString([]string{"{", ", "}[min(i, 1)])
			c.text(key)
			c.buf.WriteString(": ")
			c.value(v[key])
		}
		c.buf.WriteString([]string{"{}", "}"}[min(len(v), 1)])
	}
}

// text writes a string as jsonb does.
func (c *canon) text(s string) {
	c.buf.WriteByte('"')
	for i := range len(s) {
		switch b := s[i]; {
		case b == '"' || b == '\\':
			c.buf.WriteByte('\\')
			c.buf.WriteByte(b)
		case b >= ' ':
			c.buf.WriteByte(b)
		case b == '\b':
			c.buf.WriteString(`\b`)
		case b == '\f':
			c.buf.WriteString(`\f`)
		case b == '\n':
			c.buf.WriteString(`\n`)
		case b == '\r':
			c.buf.WriteString(`\r`)
		case b == '\t':
			c.buf.WriteString(`\t`)
		default:
			c.buf.WriteString(`\u00`)
			c.buf.WriteByte("0123456789abcdef"[b>>4])
			c.buf.WriteByte("0123456789abcdef"[b&15])
		}
	}
	c.buf.WriteByte('"')
}

// number writes digits * 10^exponent, where digits neither begin nor end with a zero.
func (c *canon) number(text string) {
	unsigned, negative := strings.CutPrefix(text, "-")
	mantissa, power, _ := strings.Cut(strings.ToLower(unsigned), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		c.buf.WriteByte('0')
		return
	}
	exponent := 0
	if power != "" {
		var err error
		if exponent, err = strconv.Atoi(power); err != nil || max(exponent, -exponent) > 1<<30 {
			c.buf.WriteString(text) // too large for jsonb, and for any computation
			return
		}
	}
	exponent -= len(fraction)
	short := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(short)
	if negative {
		c.buf.WriteByte('-')
	}
	switch {
	case !c.plain || max(exponent, -exponent) > MaxData:
		c.buf.WriteString(short + "e" + strconv.Itoa(exponent))
	case exponent >= 0:
		c.buf.WriteString(short + strings.Repeat("0", exponent))
	case -exponent < len(short):
		c.buf.WriteString(short[:len(short)+exponent] + "." + short[len(short)+exponent:])
	default:
		c.buf.WriteString("0." + strings.Repeat("0", -exponent-len(short)) + short)
	}
}
