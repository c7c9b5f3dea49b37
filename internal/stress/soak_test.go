package stress

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

var (
	seedFlag    = flag.Uint64("seed", 0, "the seed of TestSoak's schedule; 0: a few fixed ones (env STRESS_SEED)")
	minutesFlag = flag.Float64("minutes", 0, "how long each run of TestSoak has load and faults; 0: 20 s (env STRESS_MINUTES)")
	soakFlag    = flag.Float64("soak", 0, "so many minutes of TestSoak, in runs of one minute with random seeds (env STRESS_SOAK)")
	runsFlag    = flag.Int("runs", 0, "how many runs of TestSoak, with seed, seed+1, …; without a seed they are random (env STRESS_RUNS)")
)

// fixedSeeds are the seeds that run by default: together they have every kind
// of fault.
var fixedSeeds = []uint64{1, 2}

// TestSoak runs schedules of faults drawn from seeds under all kinds of load, and
// checks every promise of docs/guarantees.md.
func TestSoak(t *testing.T) {
	once := func(seed uint64, length time.Duration) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { soakOnce(t, draw(seed, length)) })
	}
	if soak := minutes(t, "STRESS_SOAK", *soakFlag); soak > 0 {
		for end := time.Now().Add(soak); time.Now().Before(end); {
			once(anySeed(), time.Minute)
		}
		return
	}
	seeds, length := soakPlan(t)
	for _, seed := range seeds {
		once(seed, length)
	}
}

func anySeed() uint64 { return rand.Uint64N(1_000_000) + 1 }

func soakOnce(t *testing.T, schedule schedule) {
	ctx, cancel := context.WithTimeout(t.Context(), schedule.length+5*time.Minute)
	defer cancel()
	s := newSoak(t, schedule)
	err := s.run(ctx)
	t.Logf("seed %d, %v: %s; %s", schedule.seed, schedule.length, s.verdict.line(), s.verdict.amounts())
	if err != nil {
		t.Errorf("the run did not come to its end: %v", err)
	}
	if err != nil || s.verdict.failed() {
		t.Errorf("%s\nthe schedule:\n%sagain: go test ./internal/stress -run TestSoak -seed %d -minutes %v",
			s.verdict.report(), schedule, schedule.seed, schedule.length.Minutes())
	}
	enough := map[string]int{"events confirmed": 20, "acks": 5, "joins and leaves": 2, "asks answered": 2, "events handled": 5, "connections of readers": 5}
	for what, least := range enough {
		if n := s.verdict.counted(what); err == nil && n < least*int(schedule.length.Seconds())/10 {
			t.Errorf("too little happened for this to show anything: %s %d", what, n)
		}
	}
}

// soakPlan returns the seeds and the length that the flags and the environment ask for.
func soakPlan(t *testing.T) (seeds []uint64, length time.Duration) {
	seed, runs := *seedFlag, *runsFlag
	if v := os.Getenv("STRESS_SEED"); v != "" {
		seed = parse(t, "STRESS_SEED", v, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	}
	if v := os.Getenv("STRESS_RUNS"); v != "" {
		runs = parse(t, "STRESS_RUNS", v, strconv.Atoi)
	}
	if length = minutes(t, "STRESS_MINUTES", *minutesFlag); length == 0 {
		length = 20 * time.Second
	}
	switch {
	case seed == 0 && runs == 0 && testing.Short():
		return fixedSeeds[:1], length
	case seed == 0 && runs == 0:
		return fixedSeeds, length
	case seed == 0:
		for range runs {
			seeds = append(seeds, anySeed())
		}
		return seeds, length
	}
	for n := range max(runs, 1) {
		seeds = append(seeds, seed+uint64(n))
	}
	return seeds, length
}

// minutes returns the value of a flag, unless the environment sets another one.
func minutes(t *testing.T, name string, n float64) time.Duration {
	if v := os.Getenv(name); v != "" {
		n = parse(t, name, v, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	}
	return time.Duration(n * float64(time.Minute)).Round(time.Millisecond) // 20 s are 0.333… minutes
}

func parse[T any](t *testing.T, name, text string, how func(string) (T, error)) T {
	t.Helper()
	v, err := how(text)
	if err != nil {
		t.Fatalf("%s=%s: %v", name, text, err)
	}
	return v
}
