package limits

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxBuckets bounds the memory of all buckets: each takes a few hundred bytes.
	maxBuckets = 100_000
	// sweepEvery is how often full buckets are dropped: a new bucket is full, too, so nothing is lost.
	sweepEvery = time.Minute
)

// bucketOf is the key of a bucket: each party has one for emits and one for other requests.
type bucketOf struct {
	party
	requests bool
}

// charge is what a request costs one party.
type charge struct {
	bucketOf
	rate float64 // per second; 0: no limit
	over string  // whose limit it is, for error texts
	from *rate.Limiter
}

// buckets are the token buckets of the parties that were active lately.
type buckets struct {
	all   map[bucketOf]*rate.Limiter
	swept time.Time
}

// rates are the buckets and the lock on them. The caller says what time it is.
type rates struct {
	mu      sync.Mutex
	buckets buckets
}

// take takes n tokens, less those paid before, of every bucket if all of them have enough. Otherwise it takes
// none, and returns how long until all have enough, and whose bucket is the last to have it. If n is more than
// a bucket can hold, the bucket must be full, and goes below zero.
func (s *rates) take(now time.Time, burst time.Duration, n, paid int, charges ...charge) (wait time.Duration, over string) {
	if burst == 0 {
		burst = defaultBurst
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range charges {
		c := &charges[i]
		if c.rate <= 0 {
			continue
		}
		c.from = s.buckets.get(now, c.bucketOf, c.rate, burst)
		need, have := float64(min(n, c.from.Burst())), c.from.TokensAt(now)
		if have >= need-float64(paid) {
			continue
		}
		if w := time.Duration((need - have) / c.rate * float64(time.Second)); w >= wait {
			wait, over = max(w, time.Microsecond), c.over
		}
	}
	if wait > 0 {
		return wait, over
	}
	for _, c := range charges {
		if c.from != nil {
			withdraw(c.from, now, n-paid)
		}
	}
	return 0, ""
}

// withdraw takes n tokens, and goes below zero if it must. It reserves several times, since one reservation can
// be at most as large as the bucket.
func withdraw(b *rate.Limiter, now time.Time, n int) {
	for n > 0 {
		part := min(n, b.Burst())
		b.ReserveN(now, part)
		n -= part
	}
}

// get returns the bucket of this name, or makes one, which is full. It sets the bucket's limit, which may have
// changed.
func (b *buckets) get(now time.Time, name bucketOf, perSecond float64, burst time.Duration) *rate.Limiter {
	limit, size := rate.Limit(perSecond), int(math.Ceil(perSecond*burst.Seconds()))
	size = max(size, 1)
	found := b.all[name]
	if found == nil {
		b.makeRoom(now)
		found = rate.NewLimiter(limit, size)
		b.all[name] = found
	}
	if found.Limit() != limit || found.Burst() != size {
		found.SetLimitAt(now, limit)
		found.SetBurstAt(now, size)
	}
	return found
}

// makeRoom drops full buckets from time to time. When there are still too many, it drops any others; they begin
// again with full buckets. So a request over the limit may be accepted, but one below it is never refused.
func (b *buckets) makeRoom(now time.Time) {
	if b.all == nil {
		b.all, b.swept = map[bucketOf]*rate.Limiter{}, now
	}
	if now.Sub(b.swept) >= sweepEvery {
		b.swept = now
		for name, l := range b.all {
			if l.TokensAt(now) >= float64(l.Burst()) {
				delete(b.all, name)
			}
		}
	}
	for name := range b.all {
		if len(b.all) < maxBuckets {
			return
		}
		delete(b.all, name)
	}
}
