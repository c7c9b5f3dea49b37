package reach

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// table returns the results in Markdown.
func table(paths []path, results []result) string {
	var b strings.Builder
	b.WriteString("| path | first event (goal) | transport | delay: half | slowest | requests | polls | failed with |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for i, p := range paths {
		r := results[i]
		if r.First == nil {
			continue // not asked for with -run, or failed
		}
		goal, missed := 4, ""
		if p.streams {
			goal = 1
		}
		if *r.First >= goal*1000 {
			missed = ", missed"
		}
		slices.Sort(r.Delays)
		half, slowest := 0, 0
		if n := len(r.Delays); n > 0 {
			half, slowest = r.Delays[n/2], r.Delays[n-1]
		}
		fmt.Fprintf(&b, "| %s | %s (%d s%s) | %s | %s | %s | %d | %s | %s |\n", p.name, seconds(*r.First), goal, missed,
			short(r.Transports), seconds(half), seconds(slowest), r.Asked, held(r.Waits), short(texts(r.Refused)))
	}
	return b.String()
}

// short joins a list without repeats, which it counts.
func short(list []string) string {
	var b strings.Builder
	times := map[string]int{}
	for _, word := range list {
		times[word]++
	}
	for i, word := range list {
		switch {
		case slices.Contains(list[:i], word):
			continue
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(word)
		if n := times[word]; n > 1 {
			fmt.Fprintf(&b, " ×%d", n)
		}
	}
	return b.String()
}

func seconds(ms int) string { return fmt.Sprintf("%.2f s", float64(ms)/1000) }

// held lists the waits that polls asked for.
func held(waits []float64) string {
	var texts []string
	for _, w := range waits {
		texts = append(texts, fmt.Sprintf("%.3g", w))
	}
	return strings.Join(texts, ", ")
}

func texts(numbers []int) (texts []string) {
	for _, n := range numbers {
		texts = append(texts, strconv.Itoa(n))
	}
	return texts
}

// describe lists the paths with their descriptions.
func describe(paths []path) string {
	var b strings.Builder
	for _, p := range paths {
		fmt.Fprintf(&b, "- **%s**: %s\n", p.name, p.does)
	}
	return b.String()
}
