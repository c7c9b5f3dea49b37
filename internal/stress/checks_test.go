package stress

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestChecksFindWhatIsBroken gives the checks a small history in which every promise is
// kept, and then breaks one promise after the other: the checks must find exactly that one. So a
// soak that finds nothing is evidence.
func TestChecksFindWhatIsBroken(t *testing.T) {
	all := map[string]func(*small){
		"": func(*small) {},
		"what was confirmed is durable": func(s *small) {
			s.remove(11)
			s.reader.steps = slices.DeleteFunc(s.reader.steps, func(p step) bool { return p.offset == 11 })
		},
		"what was rolled back is never stored, what was rolled back is never seen": func(s *small) { s.tr.facts.named["a"].fate = unstored; s.tr.facts.order = nil },
		"a key is stored once, every reader sees every event":                      func(s *small) { s.put(31, "b", "stress") },
		"what survived a fault is kept":                                            func(s *small) { s.lost.kept[10] = "another" },
		"events of one publisher keep their order":                                 func(s *small) { slices.Reverse(s.tr.facts.order[1]) },
		"an offset is never given to two events":                                   func(s *small) { s.tell(11, "lost") },
		"a reader sees events in order":                                            func(s *small) { s.lastFirst() },
		"every reader sees every event":                                            func(s *small) { s.drop("b") },
		"what was seen is kept, nothing is stored that nobody emitted":             func(s *small) { s.tell(32, "nobody's") },
		"no event goes to a room or namespace it was not sent to":                  func(s *small) { s.tr.facts.named["b"].namespace = "game"; s.tr.at[11].namespace = "default" },
		"a reader ahead of a restored history gets a gap":                          func(s *small) { s.dropGap() },
		"a reader gets a gap only where something was lost":                        func(s *small) { s.gap("x:11", "x:30", "rewound") },
		"what a fault took is no longer delivered":                                 func(s *small) { s.late() },
		"a member gets exactly the events of its membership intervals":             func(s *small) { s.intervals[0].until = 10 },
		"an answered join or leave is durable":                                     func(s *small) { s.member.moves[1].offset = 6 },
		"a volatile event does not come after an answered leave":                   func(s *small) { s.hinted("after") },
		"a volatile event comes once on a connection":                              func(s *small) { s.hinted("during"); s.hinted("during") },
		"every reply reaches its emitter":                                          func(s *small) { s.asker.asks[0].data = 8 },
		"a stored cursor never goes back":                                          func(s *small) { s.cursors["acker"] = 1 },
		"a handler runs every event at least once":                                 func(s *small) { delete(s.done, "job") },
		"a handler runs only what was committed":                                   func(s *small) { s.done["nobody's"] = true },
	}
	for want, change := range all {
		s := newSmall(t)
		change(s)
		s.check()
		got := slices.Sorted(maps.Keys(s.tr.verdict.broken))
		if list := slices.DeleteFunc(strings.Split(want, ", "), func(s string) bool { return s == "" }); !slices.Equal(got, slices.Sorted(slices.Values(list))) {
			t.Errorf("found %q, want %q:\n%s", got, list, s.tr.verdict.report())
		}
	}
}

// small is a history: events a and b at 10 and 11, then a lost event at 20, then an
// event for the handler, a reply and an event for a member, from 30 on.
type small struct {
	tr        *truth
	lost      *loss
	reader    *follower
	sat       *follower
	member    *member
	intervals []interval
	hints     hints
	asker     *asker
	cursors   map[string]int64
	done      map[string]bool
	begun     time.Time
}

func newSmall(t *testing.T) *small {
	s := &small{begun: time.Now().Add(-time.Minute), cursors: map[string]int64{"acker": 11}, done: map[string]bool{"job": true}}
	run := newSoak(t, schedule{})
	run.acks.floor = map[string]int64{"acker": 11}
	s.tr = &truth{soak: run, at: map[int64]*stands{}, of: map[string][]int64{}, assigned: map[int64]string{}}
	s.lost = &loss{what: "a fault", safe: s.begun.Add(10 * time.Second), end: s.begun.Add(20 * time.Second), head: 11, known: 20,
		kept: map[int64]string{10: `a`, 11: `b`}}
	s.reader = &follower{id: "reader", namespace: "default", rooms: []string{"stress"}}
	s.sat = &follower{id: "member", namespace: "default"}
	s.reader.ended.Store(true)
	s.sat.ended.Store(true)
	for _, e := range []struct {
		offset int64
		name   string
	}{{10, "a"}, {11, "b"}, {20, "lost"}, {30, "c"}} {
		s.emitted(e.offset, e.name, "stress")
		s.tell(e.offset, e.name)
		if e.name == "lost" {
			s.gap("x:20", "x:29", "rewound")
		}
	}
	s.remove(20)
	s.emitted(35, "job", "jobs")
	s.tr.at[35].event = "work"
	s.emitted(12, "for a member", "club")
	s.sat.steps = []step{{kind: gotEvent, offset: 12, name: "for a member", room: "club"}}
	s.member = &member{id: "member", moves: []move{{join: true, offset: 2, end: s.begun}, {offset: 5, begun: s.begun, end: s.begun, tries: 1},
		{join: true, offset: 11, begun: s.begun.Add(40 * time.Second), end: s.begun.Add(40 * time.Second), tries: 1}}}
	s.intervals = []interval{{2, 5}, {11, 13}}
	s.intervals[0], s.intervals[1] = s.intervals[1], s.intervals[0]
	after, during := s.begun.Add(time.Second), s.begun.Add(45*time.Second)
	s.hints.sent = []hint{{"after", after, after}, {"during", during, during}}
	s.put(40, "", "@asker 0")
	s.tr.at[40].event, s.tr.at[40].data = "culvert:reply", `{"to":11,"data":7}`
	s.asker = &asker{asks: []asked{{offset: 11, data: 7, begun: s.begun.Add(50 * time.Second), end: s.begun.Add(50 * time.Second)}}}
	return s
}

func (s *small) put(offset int64, name, room string) {
	s.tr.at[offset] = &stands{name: name, event: "e", namespace: "default", rooms: []string{room}, data: name}
	s.tr.offsets = append(s.tr.offsets, offset)
	slices.Sort(s.tr.offsets)
	if name != "" {
		s.tr.of[name] = append(s.tr.of[name], offset)
	}
}

func (s *small) emitted(offset int64, name, room string) {
	s.put(offset, name, room)
	f := &fact{name: name, namespace: "default", rooms: []string{room}, keyed: true, publisher: 1, fate: stored, offset: offset,
		begun: s.begun.Add(11 * time.Second), confirmed: s.begun.Add(12 * time.Second)}
	s.tr.facts.named[name] = f
	if room == "stress" {
		s.tr.facts.order[1] = append(s.tr.facts.order[1], f)
	}
}

func (s *small) remove(offset int64) {
	delete(s.tr.of, s.tr.at[offset].name)
	delete(s.tr.at, offset)
	delete(s.lost.kept, offset)
	s.tr.offsets = slices.DeleteFunc(s.tr.offsets, func(o int64) bool { return o == offset })
}

func (s *small) tell(offset int64, name string) {
	s.reader.steps = append(s.reader.steps, step{at: s.begun.Add(15 * time.Second), kind: gotEvent, offset: offset, name: name, room: "stress"})
}

func (s *small) gap(from, to, reason string) {
	s.reader.steps = append(s.reader.steps, step{at: s.begun.Add(25 * time.Second), kind: gotGap, gap: toldGap{from, to, reason}})
}

func (s *small) dropGap() {
	s.reader.steps = slices.DeleteFunc(s.reader.steps, func(p step) bool { return p.kind == gotGap })
}

func (s *small) drop(name string) {
	s.reader.steps = slices.DeleteFunc(s.reader.steps, func(p step) bool { return p.name == name })
}

// lastFirst makes the reader get the last event first.
func (s *small) lastFirst() {
	c := s.reader.steps[len(s.reader.steps)-1]
	s.reader.steps = append([]step{c}, s.reader.steps[:len(s.reader.steps)-1]...)
}

// late delivers a lost event long after the fault.
func (s *small) late() {
	for i := range s.reader.steps {
		if s.reader.steps[i].name == "lost" {
			s.reader.steps[i].at = s.lost.end.Add(2 * forgetful)
		}
	}
}

func (s *small) hinted(name string) {
	s.sat.steps = append(s.sat.steps, step{kind: gotVolatile, name: name})
}

func (s *small) check() {
	s.tr.losses.all = []loss{*s.lost}
	s.tr.stored()
	s.tr.confirmed()
	s.tr.survivors()
	s.tr.publishersOrder()
	s.tr.offsetsOnce([]*follower{s.reader, s.sat})
	s.tr.follower(s.reader)
	s.tr.membership(s.member, s.intervals, []*follower{s.sat})
	s.tr.hints(s.member, &s.hints, []*follower{s.sat})
	s.tr.replies([]*asker{s.asker})
	s.tr.acks(s.cursors)
	s.tr.handled(s.done)
}
