package web

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The rates of tokens, each of which may make another client on the server: for one
// address, which may belong to an office or a proxy with many people, and
// for all. A page asks for one or two tokens when it opens, and for one every ten minutes.
const (
	addressRate, addressBurst = rate.Limit(2), 200
	totalRate, totalBurst     = rate.Limit(20), 1000
	maxAddresses              = 10_000
)

// limiter has the token buckets of the addresses that asked recently, and one bucket for all.
type limiter struct {
	mu    sync.Mutex
	total *rate.Limiter
	by    map[netip.Addr]*rate.Limiter
}

func newLimiter() *limiter {
	return &limiter{total: rate.NewLimiter(totalRate, totalBurst), by: map[netip.Addr]*rate.Limiter{}}
}

// take takes a token from both buckets, or from neither and returns how long to wait.
func (l *limiter) take(now time.Time, address netip.Addr) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.by[address]
	if own == nil {
		own = rate.NewLimiter(addressRate, addressBurst)
	}
	for _, b := range []*rate.Limiter{own, l.total} {
		if have := b.TokensAt(now); have < 1 {
			wait = max(wait, time.Duration((1-have)/float64(b.Limit())*float64(time.Second)))
		}
	}
	if wait > 0 {
		return wait
	}
	own.AllowN(now, 1)
	l.total.AllowN(now, 1)
	l.keep(now, address, own)
	return 0
}

// keep makes room by dropping full buckets, which hold no information. If there are none,
// it drops the bucket of an arbitrary address, but never the bucket for all.
func (l *limiter) keep(now time.Time, address netip.Addr, own *rate.Limiter) {
	l.by[address] = own
	if len(l.by) <= maxAddresses {
		return
	}
	for a, b := range l.by {
		if b.TokensAt(now) >= addressBurst {
			delete(l.by, a)
		}
	}
	for a := range l.by {
		if len(l.by) <= maxAddresses {
			return
		}
		if a != address {
			delete(l.by, a)
		}
	}
}

// limited refuses requests over the rates.
func limited(l *limiter, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := l.take(time.Now(), origin(r.RemoteAddr)); wait > 0 {
			seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
			w.Header().Set("Retry-After", seconds)
			refuse(w, http.StatusTooManyRequests, "rate-limited", "", "too many people are joining at once; try again in "+seconds+" s")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// origin returns the address whose bucket a request uses; for IPv6 it is the network of
// one subscriber. Headers in which a proxy names its clients are ignored, since
// anybody could send them.
func origin(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	address := at.Addr().Unmap()
	if address.Is6() {
		network, _ := address.WithZone("").Prefix(64) // 64 is within an IPv6 address
		return network.Addr()
	}
	return address
}
