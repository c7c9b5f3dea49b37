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

// How many tokens there are, each good for another client of the server: for one
// address, which may be that of an office or a proxy with many people behind it, and
// for all. A page asks for one or two when it opens, and for one every ten minutes.
const (
	addressRate, addressBurst = rate.Limit(2), 200
	totalRate, totalBurst     = rate.Limit(20), 1000
	maxAddresses              = 10_000
)

// limiter has the token buckets of the addresses that asked lately, and one for all.
type limiter struct {
	mu    sync.Mutex
	total *rate.Limiter
	by    map[netip.Addr]*rate.Limiter
}

func newLimiter() *limiter {
	return &limiter{total: rate.NewLimiter(totalRate, totalBurst), by: map[netip.Addr]*rate.Limiter{}}
}

// take takes one from both buckets, or from neither and says when there will be one.
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

// keep makes room by dropping the full buckets, which say nothing. If there are none,
// one or another address begins anew; the bucket for all does not.
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

// limited refuses what is over the rates.
func limited(l *limiter, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := l.take(time.Now(), origin(r.RemoteAddr)); wait > 0 {
			seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
			w.Header().Set("Retry-After", seconds)
			refuse(w, http.StatusTooManyRequests, "rate-limited", "", "too many people come in at once; try again in "+seconds+" s")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// origin is whose bucket a request is for: its address, or of IPv6 the network that
// one subscriber has for himself. What a proxy says of its clients is not asked, since
// anybody could say it.
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
