package api

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/culvertmq/culvert/api/internal/apitest"
	"github.com/culvertmq/culvert/api/wire"
)

func init() {
	// The lines are checked one by one in checkLines.
	openapi3filter.RegisterBodyDecoder(wire.MediaLines, openapi3filter.PlainBodyDecoder)
}

// contract is openapi.yaml, loaded once.
var contract = sync.OnceValues(func() (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(openapi)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(loader.Context)
})

var contractRoutes = sync.OnceValues(func() (routers.Router, error) {
	doc, err := contract()
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(doc)
})

func TestContractIsValid(t *testing.T) {
	if _, err := contract(); err != nil {
		t.Fatal(err)
	}
}

// A text with a comma has to be quoted where fields are written in one line: else what follows the comma is a
// field without a value, which a validator may overlook.
func TestContractHasNoFieldsByMistake(t *testing.T) {
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values := regexp.MustCompile(`"[^"]*"|'[^']*'|\[[^]]*\]`)
	for n, line := range strings.Split(string(text), "\n") {
		if _, fields, ok := strings.Cut(line, ": {"); ok {
			for _, field := range strings.Split(values.ReplaceAllString(fields, "value"), ", ") {
				if !strings.Contains(field, ":") {
					t.Errorf("line %d: %q is no field: quote the text before it", n+1, field)
				}
			}
		}
	}
}

// TestContractIsComplete compares the routes of the description with Echo's.
func TestContractIsComplete(t *testing.T) {
	doc, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHandler(inMemory(&memory{}), Options{APIKeys: []string{testKey}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	served := map[string]bool{}
	for _, r := range h.echo.Routes() {
		if r.Method == http.MethodHead {
			continue
		}
		var path []string
		for part := range strings.SplitSeq(r.Path, "/") {
			if name, ok := strings.CutPrefix(part, ":"); ok {
				part = "{" + name + "}"
			}
			path = append(path, part)
		}
		served[r.Method+" "+strings.Join(path, "/")] = true
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !served[method+" "+path] {
				t.Errorf("%s %s is described but not served", method, path)
			}
			delete(served, method+" "+path)
		}
	}
	for route := range served {
		t.Errorf("%s is served but not described", route)
	}
}

// checkContract checks an answer against openapi.yaml. If the route is not in it, the answer must be a 404 or
// 405, or that of a preflight.
func checkContract(t testing.TB, r *http.Request, res *http.Response, body []byte) {
	t.Helper()
	router, err := contractRoutes()
	if err != nil {
		t.Fatal(err)
	}
	if res.Header.Get("X-Request-Id") == "" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s %s: headers %v", r.Method, r.URL, res.Header)
	}
	plain := r.Clone(r.Context()) // routes of the description have no host
	plain.URL.Scheme, plain.URL.Host, plain.Host = "", "", ""
	route, params, err := router.FindRoute(plain)
	if err != nil {
		if r.Method != http.MethodOptions && r.Method != http.MethodHead && res.StatusCode != 404 && res.StatusCode != 405 {
			t.Errorf("%s %s answered %d but is not described: %v", r.Method, r.URL.Path, res.StatusCode, err)
		}
		return
	}
	in := &openapi3filter.RequestValidationInput{Request: plain, PathParams: params, Route: route}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header,
		Body:    io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if err := openapi3filter.ValidateResponse(r.Context(), out); err != nil {
		t.Errorf("%s %s: %d %.500s\nis not as openapi.yaml says: %v", r.Method, r.URL, res.StatusCode, body, err)
	}
}

// checkLines checks the first result lines of an upload.
func checkLines(t testing.TB, lines []string) {
	t.Helper()
	for _, line := range lines[:min(len(lines), 100)] {
		if strings.HasPrefix(line, `{"type":`) {
			checkSchema(t, "LineProblem", line)
		} else {
			checkSchema(t, "Result", line)
		}
	}
}

// checkFrame checks the data of a frame against its schema.
func checkFrame(t testing.TB, f apitest.Frame) {
	t.Helper()
	name := "Event"
	switch f.Event {
	case "culvert:hello", "culvert:heartbeat", "culvert:gap", "culvert:reconnect":
		control := strings.TrimPrefix(f.Event, "culvert:")
		name = strings.ToUpper(control[:1]) + control[1:]
	case "culvert:reply":
		checkSchema(t, "ReplyEvent", payload(t, f))
	}
	checkSchema(t, name, f.Data)
}

func checkSchema(t testing.TB, name, text string) {
	t.Helper()
	doc, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	schema := doc.Components.Schemas[name]
	if schema == nil {
		t.Fatalf("openapi.yaml has no schema %s for %s", name, text)
	}
	var v any
	if err := apitest.DecodeNumbers([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	if err := schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors()); err != nil {
		t.Errorf("%s is not a %s as openapi.yaml says: %v", text, name, err)
	}
}
