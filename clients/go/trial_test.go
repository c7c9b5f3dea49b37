package culvert

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestLostAfterTrial: the end of a stream that worked after it was tried again while polling
// is reported like that of any other stream.
func TestLostAfterTrial(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: culvert:hello\ndata: {\"log\":\"l\",\"heartbeat\":15}\n\n")
	}))
	defer server.Close()
	told := make(chan string, 100)
	c := dial(t, server.URL, Options{
		Token:     testKey,
		OnConnect: func(Transport) { told <- "connected" },
		OnLost:    func(err error) { told <- err.Error() },
	})
	saveVerdict(c.origin, verdict{transport: Poll, retryStreamAt: time.Now().Add(-time.Second), round: 1})
	done := listen(c)
	for _, want := range []string{"connected", errClosed.Error(), "connected"} {
		if got := get(t, told); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	c.Close()
	if err := get(t, done); err != nil {
		t.Error(err)
	}
}
