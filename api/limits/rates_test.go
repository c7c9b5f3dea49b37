package limits

import (
	"fmt"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
)

// TestRetryAfterIsEnough: a request is accepted after the time it was told to wait, and not before.
func TestRetryAfterIsEnough(t *testing.T) {
	var s rates
	now := time.Unix(1e9, 0)
	take := func(n, paid int) time.Duration {
		c := charge{bucketOf: bucketOf{requests: true}, rate: 3, over: "x"}
		wait, _ := s.take(now, 2*time.Second, n, paid, c) // 6 at once
		return wait
	}
	if take(4, 0) != 0 {
		t.Fatal("a full bucket refuses")
	}
	wait := take(5, 0)
	if wait != time.Second {
		t.Errorf("3 missing tokens take %v", wait)
	}
	now = now.Add(wait - time.Millisecond)
	if take(5, 0) == 0 {
		t.Error("too early")
	}
	now = now.Add(time.Millisecond)
	if take(1, 0) != 0 || take(5, 1) != 0 {
		t.Error("a request was refused after the wait that it was given")
	}
	now = now.Add(2 * time.Second)
	if take(12, 0) != 0 {
		t.Error("a full bucket refuses what it cannot hold")
	}
	if wait := take(1, 0); (wait - 7*time.Second/3).Abs() > time.Millisecond {
		t.Errorf("a debt of 6 takes %v", wait)
	}
}

// TestAllOrNothing: if one bucket refuses, nothing is taken of the other.
func TestAllOrNothing(t *testing.T) {
	var s rates
	now := time.Unix(1e9, 0)
	wide, narrow := charge{rate: 1, over: "wide"}, charge{bucketOf: bucketOf{requests: true}, rate: 0.1, over: "narrow"}
	for _, want := range []string{"", "narrow", "narrow"} {
		if _, over := s.take(now, 10*time.Second, 1, 0, wide, narrow); over != want {
			t.Errorf("%q, want %q", over, want)
		}
	}
	if wait, _ := s.take(now, 10*time.Second, 9, 0, wide); wait != 0 {
		t.Errorf("refused requests took tokens: %v", wait)
	}
}

// TestBucketsAreForgotten: full buckets are dropped, and the number of buckets is bounded.
func TestBucketsAreForgotten(t *testing.T) {
	var s rates
	now := time.Unix(1e9, 0)
	take := func(c bucketOf, n int) bool {
		wait, _ := s.take(now, 10*time.Second, n, 0, charge{bucketOf: c, rate: 1})
		return wait == 0
	}
	names := func(n int) bucketOf { return bucketOf{party: party{client: event.MustClient(fmt.Sprint(n))}} }
	for n := range 10 {
		take(names(n), 1)
	}
	take(names(10), 1000) // a debt that outlasts the sweep
	if len(s.buckets.all) != 11 {
		t.Fatalf("%d buckets", len(s.buckets.all))
	}
	now = now.Add(sweepEvery)
	take(names(11), 1)
	if len(s.buckets.all) != 2 || take(names(10), 1) {
		t.Errorf("%d buckets are left", len(s.buckets.all))
	}
	s.buckets.all = nil
	for n := range maxBuckets + 10 {
		if !take(names(n), 10) {
			t.Fatal("a new bucket is not full")
		}
	}
	if n := len(s.buckets.all); n > maxBuckets {
		t.Errorf("%d buckets", n)
	}
}

// TestLimitsMayChange: a bucket follows the limit that holds now.
func TestLimitsMayChange(t *testing.T) {
	var s rates
	now := time.Unix(1e9, 0)
	take := func(rate float64, n int) bool {
		wait, _ := s.take(now, 10*time.Second, n, 0, charge{rate: rate})
		return wait == 0
	}
	if !take(10, 100) || take(10, 1) {
		t.Fatal("the first limit does not hold")
	}
	now = now.Add(time.Second) // 10 tokens
	if !take(0.5, 5) || take(0.5, 1) {
		t.Error("the second limit does not hold")
	}
	if !take(0, 1_000_000) {
		t.Error("no limit refuses")
	}
}
