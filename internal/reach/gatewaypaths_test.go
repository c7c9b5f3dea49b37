package reach

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// gateways imitate gateways that cannot be installed, as their vendors describe them. Their limits
// are shorter here, because a test would not reach the real ones.
var gateways = []path{
	{
		name: "as API Gateway, 3.5 s", short: true,
		does: "Like AWS API Gateway, which sends an answer when it is complete, and after 29 s answers 504 with a JSON body of its own; " +
			"scaled to 3.5 s. The client notices that streams are held back, and asks for polls that end in time.",
		proof: refusedWith(http.StatusGatewayTimeout),
		open:  fault(func(h http.Handler) http.Handler { return likeAPIGateway(3500*time.Millisecond, h) }),
	},
	{
		name: "as Heroku, 2.5 and 3 s", streams: true,
		does: "Like Heroku's router, which answers 503 when nothing comes within 30 s, and closes an answer after 55 s of silence; " +
			"scaled to 2.5 s and 3 s, below the heartbeat. Silence ends streams.",
		proof: func(t *testing.T, r result) {
			if r.Asked < 2 {
				t.Error("no stream was cut")
			}
		},
		open: fault(heroku.before),
	},
	{
		name: "as Heroku, polls only", use: "poll",
		does:  "Like the path above, with a client that insists on polling: it gets 503 with an HTML page, which Culvert never sends, and then asks for shorter polls.",
		proof: shortened(http.StatusServiceUnavailable, 2500*time.Millisecond),
		open:  fault(heroku.before),
	},
	{
		name: "as Cloudflare, 3 s, polls only", use: "poll",
		does: "Like Cloudflare, which answers 524 with an HTML page when nothing comes for 100 s; scaled to 3 s. " +
			"The client insists on polling; the effect of silence on streams is shown above.",
		proof: shortened(524, 3*time.Second),
		open: fault(impatient{3 * time.Second, 3 * time.Second, refusal{
			524, "text/html; charset=UTF-8", "<!DOCTYPE html><title>culvert.example | 524: A timeout occurred</title>",
		}}.before),
	},
}

var heroku = impatient{2500 * time.Millisecond, 3 * time.Second, refusal{
	http.StatusServiceUnavailable, "text/html", "<!DOCTYPE html><title>Application Error</title>",
}}

// refusedWith proves that a request to receive was answered with this status.
func refusedWith(status int) func(*testing.T, result) {
	return func(t *testing.T, r result) {
		t.Helper()
		if !slices.Contains(r.Refused, status) {
			t.Errorf("no request was answered with %d, but some with %v", status, r.Refused)
		}
	}
}

// shortened proves that a poll was answered with this status, and that the
// client then asked for a poll that is shorter than the limit.
func shortened(status int, limit time.Duration) func(*testing.T, result) {
	return func(t *testing.T, r result) {
		t.Helper()
		refusedWith(status)(t, r)
		if !slices.ContainsFunc(r.Waits, func(s float64) bool { return s > 0 && s < limit.Seconds() }) {
			t.Errorf("the polls asked for waits of %v s, none below %v", r.Waits, limit)
		}
	}
}
