package limits

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxBuckets bounds the memory of rates: a few hundred bytes each.
	maxBuckets = 100_000
	// sweepEvery is how often full buckets, which say nothing, are dropped.
	sweepEvery = time.Minute
)

// bucketOf names a bucket: one for emitting, one for other requests.
type bucketOf struct {
	party
	requests bool
}

// charge is what a request costs one party.
type charge struct {
	bucketOf
	rate float64 // per second; 0: no limit
	over string  // who the limit is for, for people
	from *rate.Limiter
}

// buckets are the token buckets of those who were active lately.
type buckets struct {
	all   map[bucketOf]*rate.Limiter
	swept time.Time
}

// rates are the buckets, and the lock on them. Their clock is the caller's.
type rates struct {
	mu      sync.Mutex
	buckets buckets
}

// Charge takes n tokens, less those paid before, of each bucket when all of them
// have enough. Else it takes none and tells when there will be n, and in which
// bucket last. More than a bucket can hold needs a full one, and leaves a debt.
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

// withdraw goes below zero where it must: a reservation may be of a bucket's
// size at most, but any number of them may wait.
func withdraw(b *rate.Limiter, now time.Time, n int) {
	for n > 0 {
		part := min(n, b.Burst())
		b.ReserveN(now, part)
		n -= part
	}
}

// get finds or makes a bucket; a new one is full. A limit may have changed.
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

// makeRoom drops the full buckets from time to time. When so many are in use
// that this does not help, one or another begins anew: too little is refused
// then, and never too much.
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
