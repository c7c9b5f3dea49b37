package reach

import (
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// path is a connection between a client and the instances, through proxies or faults.
type path struct {
	name    string
	does    string                       // for docs/reach.md
	streams bool                         // whether a stream gets through, if only for a while
	short   bool                         // the Go client is tested on it in every run, not only with -record
	page    bool                         // the client behaves as in a page of another origin
	use     string                       // the transport that the client insists on
	silence time.Duration                // instead of the usual silence
	proof   func(t *testing.T, r result) // checks that the path had the described effect
	open    func(s *scene, t *testing.T) entrance
}

// entrance is the address that a client connects to.
type entrance struct {
	address string
	forward *proxy // a forward proxy through which to ask for the address
}

type proxy struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

func nginx(location string) func(*scene, *testing.T) entrance {
	return func(s *scene, t *testing.T) entrance { return entrance{address: s.nginx(t, location)} }
}

func apache(options string) func(*scene, *testing.T) entrance {
	return func(s *scene, t *testing.T) entrance { return entrance{address: s.apache(t, options)} }
}

func caddy(options string) func(*scene, *testing.T) entrance {
	return func(s *scene, t *testing.T) entrance { return entrance{address: s.caddy(t, options)} }
}

// fault wraps a balancer without faults.
func fault(wrap func(http.Handler) http.Handler) func(*scene, *testing.T) entrance {
	return func(s *scene, t *testing.T) entrance { return entrance{address: serve(t, wrap(s.balancer(t)))} }
}

func cable(join func(client, instance *net.TCPConn)) func(*scene, *testing.T) entrance {
	return func(s *scene, t *testing.T) entrance { return entrance{address: s.cable(t, join)} }
}

func throughSquid(s *scene, t *testing.T) entrance {
	host, port, err := net.SplitHostPort(s.squid(t))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return entrance{serve(t, s.balancer(t)), &proxy{host, n}}
}

// paths begin with those that take longest.
var paths = []path{
	{
		name: "goes silent at 4 s", streams: true,
		does: "Once a connection is 4 s old, it forwards nothing more in either direction, and is not closed, as behind a firewall that forgot it. " +
			"The client gives a stream up after 2.5 heartbeats of silence (6 s each here, 15 s by default), a poll 3 s after it should have ended, and an emit after 4 s.",
		open: cable(silentFrom(4 * time.Second)),
	},
	{
		name: "killed at 3 s", streams: true, short: true,
		does: "Every connection is closed at 3 s of age. Streams that end soon, or all at the same age, tell the client to poll.",
		open: cable(killAt(3 * time.Second)),
	},
	{
		name: "reset at random", short: true,
		does: "Every connection is reset after 1 to 4,000 bytes of answers, in the middle of headers, frames and the answers to emits. " +
			"The client ignores an incomplete frame; an emit whose answer was lost is sent again with its key and stored once.",
		open: cable(resetWithin(4000)),
	},
	{
		name: "nginx, buffering", short: true,
		does: "nginx's default buffering, made strict by ignoring `X-Accel-Buffering`: it withholds even the headers. " +
			"No first frame comes within 3 s, so the client polls.",
		open: nginx("proxy_pass http://unset; proxy_ignore_headers X-Accel-Buffering;"),
	},
	{
		name: "nginx, 5 s timeout", streams: true,
		does: "`proxy_read_timeout 5s`, below the heartbeat of 6 s: a silent stream is cut at 5 s.",
		open: nginx("proxy_pass http://unset; proxy_read_timeout 5s;"),
	},
	{
		name: "nginx, 5 s, polls only", use: "poll", silence: 16 * time.Second,
		does: "Like the path above, with a client that insists on polling, and 16 s of silence: a held poll is tried on the other instance for 5 s more " +
			"and then fails with 504, and both instances count as failed for 10 s (502).",
		proof: refusedWith(http.StatusGatewayTimeout),
		open:  nginx("proxy_pass http://unset; proxy_read_timeout 5s;"),
	},
	{
		name: "nginx, unset", streams: true,
		does: "A bare `proxy_pass`: HTTP/1.0 towards the instances, buffering on, which Culvert's `X-Accel-Buffering: no` turns off.",
		open: nginx("proxy_pass http://unset;"),
	},
	{
		name: "nginx, as advised", streams: true, short: true,
		does: "With [deployments/proxies/nginx.conf](../deployments/proxies/nginx.conf).",
		open: nginx(""),
	},
	{
		name: "HAProxy, 4 s timeouts", streams: true, short: true,
		does: "`timeout client` and `timeout server` of 4 s: silence ends streams.",
		open: func(s *scene, t *testing.T) entrance {
			return entrance{address: s.haproxy(t, "timeout client 4s\n    timeout server 4s")}
		},
	},
	{
		name: "HAProxy, 4 s, polls only", short: true,
		does: "Like the path above, with a client that insists on polling: after one or two polls that failed at the same age it asks for shorter ones.",
		use:  "poll", proof: shortened(http.StatusGatewayTimeout, 4*time.Second),
		open: func(s *scene, t *testing.T) entrance {
			return entrance{address: s.haproxy(t, "timeout client 4s\n    timeout server 4s")}
		},
	},
	{
		name: "HAProxy, as advised", streams: true,
		does: "With [deployments/proxies/haproxy.cfg](../deployments/proxies/haproxy.cfg).",
		open: func(s *scene, t *testing.T) entrance { return entrance{address: s.haproxyAsIs(t)} },
	},
	{
		name: "Apache, unset", streams: true,
		does: "mod_proxy_http with a bare `ProxyPass` to a balancer.",
		open: apache("<Proxy balancer://unset>\n    BalancerMember http://${CULVERT_1}\n    BalancerMember http://${CULVERT_2}\n" +
			"</Proxy>\nProxyPass / balancer://unset/"),
	},
	{
		name: "Apache, as advised", streams: true, short: true,
		does: "With [deployments/proxies/apache.conf](../deployments/proxies/apache.conf).",
		open: apache(""),
	},
	{
		name: "Caddy, unset", streams: true,
		does: "A bare `reverse_proxy`, with `encode gzip` as many sites have it.",
		open: caddy("encode gzip\n\treverse_proxy {$CULVERT_1} {$CULVERT_2}"),
	},
	{
		name: "Caddy, as advised", streams: true,
		does: "With [deployments/proxies/Caddyfile](../deployments/proxies/Caddyfile).",
		open: caddy(""),
	},
	{
		name: "Squid", streams: true, short: true,
		does: "A forward proxy, as in an office: the client asks it, in plain HTTP, for the address of a load balancer.",
		open: throughSquid,
	},
	{
		name: "withholds bodies", short: true,
		does: "Headers pass at once, a body only when it is complete. The client does not trust headers: it waits for `culvert:hello`.",
		open: fault(withholdBodies),
	},
	{
		name: "withholds all",
		does: "Nothing passes before the answer is complete, as in a gateway that scans for viruses.",
		open: fault(withholdAll),
	},
	{
		name: "holds each frame until the next", short: true,
		does: "Each piece of an answer passes when the next one has come, as in virus scanners: `culvert:hello` passes as soon " +
			"as an event follows it. The server ends the first pauses of a stream after 1 s, with a heartbeat that releases the event. When the " +
			"heartbeat itself is missing or late, the client polls.",
		proof: leavesTheStream, open: fault(holdEach),
	},
	{
		name:  "holds the last 150 bytes",
		does:  "Like the path above, but only the last 150 bytes are held: `culvert:hello` passes with the event after it.",
		proof: leavesTheStream, open: fault(func(h http.Handler) http.Handler { return holdLast(150, h) }),
	},
	{
		name: "serves stale GETs", short: true, page: true,
		does: "A cache that sends only complete answers, and repeats its earlier answer to a URL, whatever the headers say. The client behaves as in a page " +
			"of another origin: its URLs stay the same until it notices the cache.",
		open: fault(serveStale),
	},
	{
		name: "strips headers", streams: true, page: true,
		does: "Request headers that are not part of HTTP are removed, also `Last-Event-ID` and `Idempotency-Key`. The client behaves as in a page " +
			"of another origin: it sends its position only in a header until it notices the loss. Every answer is cut at 5 s of age, so that the client " +
			"has to send its position.",
		open: fault(func(h http.Handler) http.Handler { return stripHeaders(cutAt(5*time.Second, h)) }),
	},
	{
		name: "HTTP/1.0", streams: true,
		does: "Every request is converted to HTTP/1.0: no chunks, and every answer ends with its connection.",
		open: cable(speakHTTP10(0)),
	},
	{
		name: "HTTP/1.0, cut short", streams: true,
		does: "HTTP/1.0 as in the path above, and no answer is longer than 8,000 bytes: a stream ends in the middle of a frame, and looks complete. " +
			"The client continues from its cursor; when a page is too long, it asks for half as many events.",
		open: cable(speakHTTP10(8000)),
	},
	{
		name: "plain", streams: true,
		does: "A load balancer that takes the instances in turn, for comparison.",
		open: fault(func(h http.Handler) http.Handler { return h }),
	},
}
