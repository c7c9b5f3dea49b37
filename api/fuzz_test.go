package api

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// fuzzSite is a handler without Postgres and without a network.
func fuzzSite(f *testing.F) (*Handler, *memory) {
	f.Helper()
	m := &memory{}
	h, err := newHandler(inMemory(m), Options{APIKeys: []string{testKey}, JWTSecret: testSecret})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(h.Close)
	return h, m
}

// serve serves a request and checks what holds for every answer: no 500, and every error is a problem.
func serve(t *testing.T, h *Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code >= 500 || w.Code == 0 {
		t.Fatalf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
	}
	if w.Code >= 400 {
		var p struct {
			Type   string
			Status int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code || !utf8.Valid(w.Body.Bytes()) {
			t.Fatalf("%d with %q", w.Code, w.Body)
		}
	}
	return w
}

// FuzzEmitBody: either a body is refused, or exactly what encoding/json finds in it is stored.
func FuzzEmitBody(f *testing.F) {
	for _, s := range []string{
		`{"event":"e"}`, `{"room":"r","event":"e","data":{"a":[1,2,{"b":null}]}}`, `{"rooms":["a","b"],"except":["@me","x"],"event":"e","key":"k"}`,
		`{"event":"e","binary":"AAEC"}`, `{"events":[{"event":"a"},{"event":"b","data":"x"}]}`, ` { "event" : "e" , "data" : [ ] } `,
		`{"event":"\ud83d\ude00","data":"\u0041\n"}`, `{"event":"e","event":"f"}`, `{"Event":"e"}`, `{"event":"e","data":1e400}`, `{"ev\u0065nt":"e"}`,
		`{"event":"e"}x`, `[]`, `null`, `"`, `{`, `{"event":"e","data":{"\u0000":1}}`, "{\"event\":\"\xff\"}", `{"event":"e","reply":null,"volatile":false}`, `{"event":"e","reply":{"timeout":1.5,"count":2}}`,
	} {
		f.Add([]byte(s))
	}
	h, m := fuzzSite(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		m.events = nil
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/default/emit?client=c", bytes.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+testKey)
		r.Header.Set("Content-Type", "application/json")
		w := serve(t, h, r)
		if w.Code != http.StatusCreated {
			if len(m.events) != 0 {
				t.Fatalf("%d, but stored %d events of %q", w.Code, len(m.events), body)
			}
			return
		}
		type emitted struct {
			Room   *string
			Rooms  []string
			Event  string
			Data   json.RawMessage
			Binary *string
		}
		var whole struct {
			emitted
			Events []emitted
		}
		if err := json.Unmarshal(body, &whole); err != nil {
			t.Fatalf("accepted %q: %v", body, err)
		}
		want := whole.Events
		if want == nil {
			want = []emitted{whole.emitted}
		}
		if len(m.events) != len(want) {
			t.Fatalf("stored %d events of %q", len(m.events), body)
		}
		for i, e := range m.events {
			room := "*"
			if want[i].Room != nil {
				room = *want[i].Room
			} else if len(want[i].Rooms) > 0 {
				room = want[i].Rooms[0]
			}
			data := want[i].Data
			if want[i].Binary != nil {
				data = []byte(apitest.JSONText(*want[i].Binary))
			} else if data == nil {
				data = []byte("null")
			}
			if e.Name != want[i].Event || e.Room.String() != room || !apitest.SameJSON([]byte(e.Data), data) {
				t.Fatalf("%q was stored as %+v", body, e)
			}
			if frames := apitest.ParseFrames(string(wire.EventFrame(e))); len(frames) != 1 || frames[0].Event != e.Name {
				t.Fatalf("%q gives the frames %+v", body, frames)
			}
		}
	})
}

// FuzzLines: in whatever pieces an upload arrives, the same lines are found.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n \nc"), uint8(1))
	f.Add([]byte("\n\n"), uint8(3))
	f.Fuzz(func(t *testing.T, body []byte, step uint8) {
		var got []string
		l := newLines(&slowReader{body, int(step)%7 + 1})
		for {
			next, err := l.next()
			if err != nil {
				break
			}
			got = append(got, strings.TrimSuffix(string(next.text), "\n"))
		}
		want := strings.Split(string(body), "\n")
		if want[len(want)-1] == "" {
			want = want[:len(want)-1]
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q became %q", body, got)
		}
	})
}

type slowReader struct {
	b    []byte
	step int
}

func (s *slowReader) Read(b []byte) (int, error) {
	n := copy(b, s.b[:min(s.step, len(s.b))])
	s.b = s.b[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// FuzzQuery: parameters are refused or understood. A cursor that is understood is exactly the text that was
// sent.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"client=c&after=m3m0:1&limit=10", "client=c&last_event_id=m3m0:0&from=earliest", "rooms=a,b&wait=0.5", "client=c&ack=auto",
		"client=c&ack=m3m0:0&wait=00.10", "client=%zz", "client=c;d", "rooms=a&rooms=b%2Cc", "client=c&limit=-1", "client=&after=:", "client=c&wait=1e3",
	} {
		f.Add(s)
	}
	h, m := fuzzSite(f)
	h.o.MaxWait = 1 // held polls end at once
	f.Fuzz(func(t *testing.T, query string) {
		m.acked = nil
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/default/events", nil)
		r.URL.RawQuery = query
		r.Header.Set("Authorization", "Bearer "+testKey)
		w := serve(t, h, r)
		values, err := url.ParseQuery(query)
		if err != nil && w.Code != http.StatusBadRequest {
			t.Fatalf("%q: %d", query, w.Code)
		}
		for _, c := range m.acked {
			if c.String() != values.Get("ack") && values.Get("ack") != "auto" {
				t.Fatalf("%q acknowledged %s", query, c)
			}
		}
		if len(w.Header()["Content-Type"]) != 1 {
			t.Fatalf("%q: %v", query, w.Header())
		}
	})
}

// FuzzNames: a name in a path or in an event is refused, or stored unchanged.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"a", "octo/repo", "%2F", "100%", "ü", "a b+c", "..", "\n", "\xff", "\u2028", "me", "@x", "culvert:x", strings.Repeat("x", 300)} {
		f.Add(s)
	}
	h, m := fuzzSite(f)
	f.Fuzz(func(t *testing.T, name string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		path := "/v1/default/clients/" + url.PathEscape(name)
		u, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		r.Header.Set("Authorization", "Bearer "+testKey)
		w := serve(t, h, r)
		_, err = event.ParseClient(name)
		switch {
		case name == "me" || name == "":
		case err != nil:
			if w.Code != http.StatusUnprocessableEntity {
				t.Fatalf("%q: %d %s", name, w.Code, w.Body)
			}
		default:
			var state struct{ Client string }
			if json.Unmarshal(w.Body.Bytes(), &state) != nil || state.Client != name {
				t.Fatalf("%q: %d %s", name, w.Code, w.Body)
			}
		}

		m.events = nil
		body, err := json.Marshal(map[string]string{"event": name, "room": name})
		if err != nil {
			t.Fatal(err)
		}
		r = httptest.NewRequestWithContext(t.Context(), "POST", "/v1/default/emit", bytes.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+testKey)
		r.Header.Set("Content-Type", "application/json")
		if serve(t, h, r).Code == http.StatusCreated {
			// json.Marshal writes U+FFFD for every invalid byte.
			if valid := string([]rune(name)); len(m.events) != 1 || m.events[0].Name != valid || m.events[0].Room.String() != valid {
				t.Fatalf("%q was stored as %+v", name, m.events)
			}
		}
	})
}

// FuzzAuthorization: only a valid key or token is accepted, whatever kinds of keys the server trusts. A token
// counts as valid here if its header and claims are those of a signed one: a signature has several encodings.
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{
		"", "Bearer", "Bearer ", "Bearer " + testKey, "bearer\t" + testKey, "Basic eA==", "Bearer a.b.c", "Bearer ..", "Bearer " + testKey + ",x",
		"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjo5OTk5OTk5OTk5fQ.", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.", testKey,
	} {
		f.Add(s)
	}
	signed := map[string]bool{}
	remote := apitest.NewSigner(jwt.SigningMethodES256, apitest.NewKey(jwt.SigningMethodES256), "remote")
	for _, k := range []apitest.Signer{apitest.HS(jwt.SigningMethodHS256, testSecret), apitest.Ring()["RS256"], apitest.Ring()["ES256"], apitest.Ring()["EdDSA"], remote} {
		token := k.Sign(f, with(jwt.MapClaims{"sub": "c", "exp": 99999999999}))
		signed[token[:strings.LastIndex(token, ".")]] = true
		f.Add("Bearer " + token)
	}
	for _, c := range bad(f, remote) {
		f.Add("Bearer " + c.token)
	}
	o := Options{APIKeys: []string{testKey}, JWTSecret: testSecret, Logger: slog.New(slog.DiscardHandler)}
	everyKind(apitest.NewIssuer(f, remote).Server.URL)(&o)
	h, err := newHandler(inMemory(&memory{}), o)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(h.Close)
	f.Fuzz(func(t *testing.T, authorization string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/default/clients/c", nil)
		r.Header["Authorization"] = []string{authorization}
		w := serve(t, h, r)
		scheme, credentials, _ := strings.Cut(authorization, " ")
		credentials = strings.Trim(credentials, " \t")
		content := credentials[:max(0, strings.LastIndex(credentials, "."))]
		right := strings.EqualFold(scheme, "Bearer") && (credentials == testKey || signed[content] && w.Code == http.StatusOK)
		if (w.Code == http.StatusOK) != right || !right && w.Code != http.StatusUnauthorized {
			t.Fatalf("%q: %d", authorization, w.Code)
		}
		if !right && w.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Fatalf("%q: %v", authorization, w.Header())
		}
		if !right && len(credentials) > 20 && strings.Contains(w.Body.String(), credentials) {
			t.Fatalf("the answer repeats the credentials: %s", w.Body)
		}
	})
}
