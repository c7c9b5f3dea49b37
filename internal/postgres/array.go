package postgres

import (
	"strings"

	"github.com/culvertmq/culvert/event"
)

// RoomArray returns rooms as the text form of a text[]; "" for none.
func RoomArray(rooms []event.Room) string {
	if len(rooms) == 0 {
		return ""
	}
	var b strings.Builder
	for i, r := range rooms {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteByte('"')
		b.WriteString(quoteElement.Replace(r.String()))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

var quoteElement = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
