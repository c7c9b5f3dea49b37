package api

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/culvertmq/culvert/api/internal/apitest"
)

// sheetCall is one call of docs/from-socketio.md.
type sheetCall struct{ method, path, who, body string }

// readSheet returns the calls of the page by their headings.
func readSheet(t testing.TB) map[string][]sheetCall {
	t.Helper()
	text, err := os.ReadFile("../docs/from-socketio.md")
	if err != nil {
		t.Fatal(err)
	}
	sheet := map[string][]sheetCall{}
	for _, section := range strings.Split(string(text), "\n### ")[1:] {
		heading, rest, _ := strings.Cut(section, "\n")
		for _, block := range strings.Split(rest, "```http\n")[1:] {
			block, _, _ = strings.Cut(block, "\n```")
			head, body, _ := strings.Cut(block, "\n\n")
			request, authorization, _ := strings.Cut(head, "\n")
			method, path, _ := strings.Cut(request, " ")
			sheet[heading] = append(sheet[heading], sheetCall{method, path, strings.TrimPrefix(authorization, "Authorization: Bearer "), body})
		}
	}
	return sheet
}

// stage is two instances with three clients: alice and bob are in "my room", bob also in "other room". Calls go
// to the first instance; clients listen to the second.
type stage struct {
	t       *testing.T
	a, b    *site
	who     map[string]option
	streams map[string]*sseStream
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, who: map[string]option{"BACKEND": bearerOf(testKey)}, streams: map[string]*sseStream{}}
	s.a, s.b = sites(t)
	for _, name := range []string{"alice", "bob", "carol"} {
		s.who[strings.ToUpper(name)] = bearerOf(token(t, name, "rooms:my room", "rooms:other room", "emit:*"))
	}
	for _, path := range []string{membershipPath("my room", "alice"), membershipPath("my room", "bob"), membershipPath("other room", "bob")} {
		s.a.call("PUT", path, "").is(http.StatusOK)
	}
	for _, name := range []string{"alice", "bob", "carol"} {
		s.streams[name] = s.b.stream("/v1/default/events", s.who[strings.ToUpper(name)])
		s.streams[name].expect("culvert:hello")
		apitest.Until(t, func() bool { return s.b.get("/v1/default/clients/" + name).json()["online"] == true })
	}
	return s
}

// run sends a call of the page to the first instance; replace has pairs of words to replace in it.
func (s *stage) run(c sheetCall, replace ...string) result {
	s.t.Helper()
	return s.runOn(s.a, c, replace...)
}

func (s *stage) runOn(on *site, c sheetCall, replace ...string) result {
	s.t.Helper()
	who, ok := s.who[c.who]
	if !ok {
		s.t.Fatalf("%s %s: nobody is called %q", c.method, c.path, c.who)
	}
	return on.call(c.method, c.path, strings.NewReplacer(replace...).Replace(c.body), who)
}

// listen opens the stream that a call asks for.
func (s *stage) listen(c sheetCall) *sseStream {
	s.t.Helper()
	st := s.b.stream(c.path, s.who[c.who])
	st.expect("culvert:hello")
	return st
}

// got returns what each client received, up to a mark that is emitted to all.
func (s *stage) got() map[string][]string {
	s.t.Helper()
	s.a.emit("*", `"mark"`)
	all := map[string][]string{}
	for name, st := range s.streams {
		for {
			f := st.next()
			if f.Event == "e" {
				break
			}
			all[name] = append(all[name], f.Event+" "+f.Data)
		}
	}
	return all
}

// reach checks that exactly these clients got one event that contains text.
func (s *stage) reach(text string, names ...string) {
	s.t.Helper()
	for name, events := range s.got() {
		if want := slices.Contains(names, name); want != (len(events) == 1) || want && !strings.Contains(events[0], text) {
			s.t.Errorf("%s got %q", name, events)
		}
	}
}

// emits are the rows of the page that are one emit, with the clients that get it.
var emits = map[string][]string{
	"To one client":                    {"alice"},
	"To all clients":                   {"alice", "bob", "carol"},
	"To all clients except the sender": {"bob", "carol"},
	"To a room":                        {"alice", "bob"},
	"To a room except the sender":      {"bob"},
	"To several rooms":                 {"alice", "bob"},
	"To a room except another room":    {"alice"},
}

// rows are the other rows.
var rows = map[string]func(s *stage, calls []sheetCall){
	"From a client to the server": toBackend, "Between servers": toBackend,
	"To a namespace": func(s *stage, calls []sheetCall) {
		admin := s.b.stream("/v1/admin/events", bearerOf(token(s.t, "alice", "ns:admin")))
		admin.expect("culvert:hello")
		s.run(calls[0]).is(http.StatusCreated)
		if got := payload(s.t, admin.expect("hello")); got != `"world"` {
			s.t.Errorf("got %s", got)
		}
		s.reach("") // no client of the other namespace
	},
	"Volatile": func(s *stage, calls []sheetCall) {
		s.run(calls[0]).is(http.StatusAccepted)
		for _, name := range []string{"alice", "bob"} { // before or after the mark
			if f := s.streams[name].expect("hello"); strings.Contains(f.Data, "offset") {
				s.t.Errorf("%s got %s", name, f.Data)
			}
		}
		s.reach("") // no more events, and none for other clients
	},
	"With acknowledgement":               func(s *stage, calls []sheetCall) { answered(s, calls, "bob", `"got it"`) },
	"With acknowledgement by the server": func(s *stage, calls []sheetCall) { answered(s, calls, "", `"got it"`) },
	"With acknowledgements of all clients": func(s *stage, calls []sheetCall) {
		answered(s, calls, "alice", "1", "2")
	},
	"With acknowledgement and timeout": func(s *stage, calls []sheetCall) {
		if r := s.run(calls[0]).is(http.StatusCreated).json(); r["complete"] != false || apitest.JSONText(r["replies"]) != "[]" {
			s.t.Errorf("answer %v", r)
		}
	},
	"Binary": func(s *stage, calls []sheetCall) {
		s.run(calls[0]).is(http.StatusCreated)
		s.reach(`"binary":"AQID"`, "alice")
	},
	"Catch-all listeners": func(s *stage, calls []sheetCall) {
		s.a.post("/v1/default/emit", `{"events":[{"event":"a"},{"event":"b","room":"my room"}]}`).is(http.StatusCreated)
		st := s.listen(calls[0])
		st.expect("a")
		st.expect("b")
	},
	"Joining": func(s *stage, calls []sheetCall) {
		s.a.call("DELETE", membershipPath("my room", "alice"), "").is(http.StatusOK)
		s.run(calls[0]).is(http.StatusOK)
		s.a.post("/v1/default/emit", `{"room":"my room","event":"x"}`).is(http.StatusCreated)
		s.reach("my room", "alice", "bob")
	},
	"Leaving": func(s *stage, calls []sheetCall) {
		s.run(calls[0]).is(http.StatusOK)
		s.a.post("/v1/default/emit", `{"room":"my room","event":"x"}`).is(http.StatusCreated)
		s.reach("my room", "bob")
	},
	"Joining and leaving from the server": func(s *stage, calls []sheetCall) {
		s.a.call("DELETE", membershipPath("my room", "bob"), "").is(http.StatusOK)
		s.run(calls[0]).is(http.StatusOK)
		s.a.post("/v1/default/emit", `{"room":"my room","event":"in"}`).is(http.StatusCreated)
		s.run(calls[1]).is(http.StatusOK)
		s.a.post("/v1/default/emit", `{"room":"my room","event":"out"}`).is(http.StatusCreated)
		if got := s.got()["bob"]; len(got) != 1 || !strings.HasPrefix(got[0], "in ") {
			s.t.Errorf("bob got %q", got)
		}
	},
	"Who is in a room": func(s *stage, calls []sheetCall) {
		members, _ := s.run(calls[0]).is(http.StatusOK).json()["clients"].([]any)
		if len(members) != 2 || !strings.Contains(apitest.JSONText(members[0]), `"client":"alice","online":true`) {
			s.t.Errorf("members %s", apitest.JSONText(members))
		}
	},
	"The rooms of a client": func(s *stage, calls []sheetCall) {
		if got := apitest.JSONText(s.run(calls[0]).is(http.StatusOK).json()["rooms"]); got != `["*","@alice","my room"]` {
			s.t.Errorf("rooms %s", got)
		}
	},
	"All rooms": func(s *stage, calls []sheetCall) {
		if got := apitest.JSONText(s.run(calls[0]).is(http.StatusOK).json()["rooms"]); !strings.Contains(got, `"members":2,"room":"my room"`) {
			s.t.Errorf("rooms %s", got)
		}
	},
	"Disconnecting a client": func(s *stage, calls []sheetCall) {
		s.run(calls[0]).is(http.StatusNoContent)
		s.streams["bob"].expect("culvert:reconnect")
		s.streams["bob"].ends()
	},
	"Who comes and goes": func(s *stage, calls []sheetCall) {
		s.run(calls[0]).is(http.StatusOK)
		s.a.call("DELETE", membershipPath("my room", "bob"), "").is(http.StatusOK)
		s.streams["alice"].expect("culvert:leave")
	},
	"Making one": func(s *stage, calls []sheetCall) {
		if got := apitest.JSONText(s.run(calls[0]).is(http.StatusCreated).json()["retention"]); got != "86400" {
			s.t.Errorf("retention %s", got)
		}
	},
	"Who may connect": func(s *stage, calls []sheetCall) {
		s.run(calls[0]).problem(404, "not-found", "")
		s.who["ALICE"] = bearerOf(token(s.t, "alice", "ns:shop"))
		s.run(calls[0]).is(http.StatusOK)
	},
	"All namespaces": func(s *stage, calls []sheetCall) {
		if got := s.run(calls[0]).is(http.StatusOK).body; !strings.Contains(got, `"namespace":"default"`) {
			s.t.Errorf("namespaces %s", got)
		}
	},
	"Going on after a disconnection": func(s *stage, calls []sheetCall) {
		first := s.a.emit("@alice", `"seen"`)
		s.streams["alice"].close()
		s.a.emit("@alice", `"missed"`)
		s.run(calls[0], "CURSOR", first).is(http.StatusOK)
		if got := payload(s.t, s.listen(calls[1]).expect("e")); got != `"missed"` {
			s.t.Errorf("got %s", got)
		}
	},
}

func toBackend(s *stage, calls []sheetCall) {
	s.run(calls[0]).is(http.StatusCreated)
	if got := payload(s.t, s.listen(calls[1]).expect("hello")); got != `"world"` {
		s.t.Errorf("the backend got %s", got)
	}
}

// answered runs an emit that waits, and runs the replies after the event has reached a client, or the room of
// the backend.
func answered(s *stage, calls []sheetCall, client string, want ...string) {
	s.t.Helper()
	backend := s.b.stream("/v1/default/events?rooms=backend")
	backend.expect("culvert:hello")
	answer := make(chan result, 1)
	go func() { answer <- s.run(calls[0]) }()
	st := s.streams[client]
	if client == "" {
		st = backend
	}
	event := decode(s.t, st.expect("hello").Data)
	for _, c := range calls[1:] {
		s.runOn(s.b, c, "OFFSET", apitest.JSONText(event["offset"])).is(http.StatusCreated)
	}
	r := (<-answer).is(http.StatusCreated).json()
	replies, _ := r["replies"].([]any)
	var got []string
	for _, one := range replies {
		got = append(got, apitest.JSONText(one.(map[string]any)["data"]))
	}
	if r["complete"] != true || !slices.Equal(got, want) {
		s.t.Errorf("answer %s", apitest.JSONText(r))
	}
}

// TestFromSocketIO runs every call of docs/from-socketio.md and checks what it did.
func TestFromSocketIO(t *testing.T) {
	sheet := readSheet(t)
	for heading, calls := range sheet {
		t.Run(heading, func(t *testing.T) {
			s := newStage(t)
			if names, ok := emits[heading]; ok {
				s.run(calls[0]).is(http.StatusCreated)
				s.reach("hello", names...)
				return
			}
			row, ok := rows[heading]
			if !ok {
				t.Fatal("nothing checks this row of the page")
			}
			row(s, calls)
		})
	}
	if len(sheet) != len(emits)+len(rows) {
		t.Errorf("the page has %d rows, %d are checked", len(sheet), len(emits)+len(rows))
	}
}
