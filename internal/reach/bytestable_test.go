package reach

import (
	"fmt"
	"strings"
)

// bytesTable returns the costs in Markdown: the sum, and how much of it goes to the server.
func bytesTable(all []costs, ack, open traffic, idle map[string]traffic) string {
	var b strings.Builder
	b.WriteString("| bytes of each event |")
	for _, c := range all {
		fmt.Fprintf(&b, " payload of %s |", thousands(int64(c.size)))
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(all)) + "\n")
	row := func(name string, of func(costs) traffic) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, c := range all {
			fmt.Fprintf(&b, " %s |", of(c))
		}
		b.WriteString("\n")
	}
	row("received by a stream", func(c costs) traffic { return c.event["stream"] })
	row("by long polls, full pages", func(c costs) traffic { return c.event["long poll, full pages"] })
	row("by long polls, an event each", func(c costs) traffic { return c.event["long poll"] })
	row("by short polls, an event each", func(c costs) traffic { return c.event["short poll"] })
	row("emitted in batches", func(c costs) traffic { return c.emit["in batches"] })
	row("emitted alone", func(c costs) traffic { return c.emit["alone"] })
	b.WriteString("\n| bytes beside the events | |\n| --- | ---: |\n")
	fmt.Fprintf(&b, "| an acknowledgement by itself | %s |\n", ack)
	fmt.Fprintf(&b, "| opening a stream | %s |\n", open)
	for _, name := range []string{"stream", "long poll", "short poll"} {
		fmt.Fprintf(&b, "| a minute of silence, %s | %s |\n", name, idle[name])
	}
	return b.String()
}

func (t traffic) String() string {
	if t.up == 0 {
		return thousands(t.all())
	}
	return fmt.Sprintf("%s (%s up)", thousands(t.all()), thousands(t.up))
}

func thousands(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
