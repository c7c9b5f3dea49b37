package api

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/event"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := &memory{}
	s := siteOf(t, inMemory(m), func(o *Options) { o.Registerer = registry })
	st := s.stream("/v1/default/events?client=secret-name")
	st.expect("culvert:hello")
	s.emit("*", "1")
	st.expect("e")
	s.upload("{\"event\":\"e\"}\nnonsense\n")
	st.expect("e")
	s.get("/v1/default/events?client=c&wait=0&from=earliest").is(200)
	s.get("/v1/default/rooms/r/events").is(200)
	s.post("/v1/default/emit", `{}`).is(422)
	s.get("/nowhere").is(404)
	m.set(func() { m.appendErr = event.ErrOverloaded })
	s.post("/v1/default/emit", `{"event":"e"}`).is(503)

	text := s.scrape(registry)
	for _, line := range []string{
		`culvert_connections{transport="sse"} 1`,
		`culvert_connections{transport="poll"} 0`,
		`culvert_events_in_total{result="stored"} 2`,
		`culvert_events_in_total{result="rejected"} 3`,
		`culvert_events_out_total{transport="sse"} 2`,
		`culvert_events_out_total{transport="poll"} 2`,
		`culvert_events_out_total{transport="history"} 2`,
		`culvert_problems_total{type="overloaded"} 1`,
		`culvert_problems_total{type="malformed"} 1`,
		`culvert_problems_total{type="not-found"} 1`,
		`culvert_http_request_duration_seconds_count{route="/v1/:ns/emit",status="2xx"} 2`,
		`culvert_http_request_duration_seconds_count{route="/v1/:ns/emit",status="5xx"} 1`,
		`culvert_http_request_duration_seconds_count{route="unknown",status="4xx"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the metrics have no line %s:\n%s", line, text)
		}
	}
	for _, unwanted := range []string{"secret-name", "default", `route="/v1/:ns/events",status="2xx"`} {
		if strings.Contains(text, unwanted) {
			t.Errorf("%s is in\n%s", unwanted, text)
		}
	}
	if _, err := newHandler(inMemory(m), Options{APIKeys: []string{testKey}, Registerer: registry}); err == nil {
		t.Error("a second handler on the same registry is not an error")
	}
}

// scrape reads /metrics of the admin handler.
func (s *site) scrape(g prometheus.Gatherer) string {
	s.t.Helper()
	admin := Admin(g)
	w := httptest.NewRecorder()
	admin.ServeHTTP(w, httptest.NewRequest("GET", "/livez", nil))
	if w.Code != 200 {
		s.t.Errorf("livez: %d", w.Code)
	}
	w = httptest.NewRecorder()
	admin.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}
