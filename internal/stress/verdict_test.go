package stress

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"
)

// verdict collects what a run finds: broken promises, with a few examples of each,
// and how much of everything happened.
type verdict struct {
	began time.Time
	over  bool // the run is over: what is found now comes from the records

	mu     sync.Mutex
	broken map[string][]string
	times  map[string]int
	counts map[string]int
	notes  []string
}

func newVerdict() *verdict {
	return &verdict{began: time.Now(), broken: map[string][]string{}, times: map[string]int{}, counts: map[string]int{}}
}

const examples = 5

// breaks records that a promise was broken.
func (v *verdict) breaks(promise, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.times[promise]++; len(v.broken[promise]) < examples {
		v.broken[promise] = append(v.broken[promise], v.stamp()+fmt.Sprintf(format, args...))
	}
}

// note records information that helps to understand a run and breaks no promise.
func (v *verdict) note(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.notes) < 200 {
		v.notes = append(v.notes, v.stamp()+fmt.Sprintf(format, args...))
	}
}

func (v *verdict) count(what string, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.counts[what] += n
}

func (v *verdict) counted(what string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.counts[what]
}

func (v *verdict) stamp() string {
	if v.over {
		return ""
	}
	return fmt.Sprintf("%6.2fs ", time.Since(v.began).Seconds())
}

func (v *verdict) failed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.broken) > 0
}

// line is the verdict in one line, for a list of seeds.
func (v *verdict) line() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.broken) == 0 {
		return "kept its word"
	}
	var parts []string
	for promise, n := range v.times {
		parts = append(parts, fmt.Sprintf("%s (%d)", promise, n))
	}
	sort.Strings(parts)
	return "BROKEN: " + strings.Join(parts, "; ")
}

// closeBooks notes that the run is over.
func (v *verdict) closeBooks() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
}

// amounts returns how much of everything happened.
func (v *verdict) amounts() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var parts []string
	for what, n := range v.counts {
		parts = append(parts, fmt.Sprintf("%s %d", what, n))
	}
	sort.Strings(parts)
	return strings.Join(parts, ", ")
}

// report returns the whole verdict.
func (v *verdict) report() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var b strings.Builder
	var promises []string
	for p := range v.broken {
		promises = append(promises, p)
	}
	sort.Strings(promises)
	for _, p := range promises {
		fmt.Fprintf(&b, "broken %d times: %s\n", v.times[p], p)
		for _, e := range v.broken[p] {
			fmt.Fprintf(&b, "    %s\n", e)
		}
	}
	if len(v.notes) > 0 {
		b.WriteString("what happened:\n")
		for _, n := range v.notes {
			fmt.Fprintf(&b, "    %s\n", n)
		}
	}
	return b.String()
}
