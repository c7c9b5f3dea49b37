package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// asked starts n goroutines of a client that wait for a turn, use it for d, and
// report their end to ends. It returns when all of them wait or run.
func asked(t *testing.T, turns *Turnstile, ends chan<- string, ns, client string, k Kind, n int, d time.Duration) {
	t.Helper()
	for range n {
		go func() {
			done, err := turns.take(t.Context(), ns, client, k)
			if err != nil {
				return
			}
			time.Sleep(d)
			ends <- ns + "/" + client
			done()
		}()
	}
	synctest.Wait()
}

func drain(ends <-chan string, n int) (order []string) {
	for range n {
		order = append(order, <-ends)
	}
	return order
}

// Among waiting reads, those of the namespace with the least used time come first, and within it those of the
// client with the least: however many reads of others wait, and however long they take.
func TestTurnsAreSharedByNamespaceAndClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, ends := NewTurnstile(1), make(chan string, 1000)
		asked(t, turns, ends, "busy", "greedy", Long, 300, 100*time.Millisecond)
		asked(t, turns, ends, "busy", "modest", Long, 2, 10*time.Millisecond)
		asked(t, turns, ends, "quiet", "victim", Long, 3, 10*time.Millisecond)
		order := drain(ends, 7)
		// The read that runs ends first. The three reads of the quiet namespace together take less than the
		// 100 ms that the first one took; the modest client comes before the next read of the greedy one.
		want := []string{"busy/greedy", "quiet/victim", "quiet/victim", "quiet/victim", "busy/modest", "busy/modest", "busy/greedy"}
		if !slices.Equal(order, want) {
			t.Errorf("the reads were served in the order %v, want %v", order, want)
		}
		drain(ends, 298)
		synctest.Wait()
		if n := turns.Waiting(); n != 0 || len(turns.lines[Long].spaces.all) != 0 {
			t.Errorf("%d reads wait and %d namespaces are remembered when all is done", n, len(turns.lines[Long].spaces.all))
		}
	})
}

// A steady flow of new clients does not delay an old one.
func TestNewClientsDoNotShutOutOldOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, ends := NewTurnstile(1), make(chan string, 10_000)
		asked(t, turns, ends, "ns", "old", Long, 10, 20*time.Millisecond)
		// Eight others wait at any time, each of them for the first time.
		for i := range 8 {
			go func() {
				for n := range 100 {
					done, err := turns.take(t.Context(), "ns", fmt.Sprint("new", i, "-", n), Long)
					if err != nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
					ends <- "new"
					done()
				}
			}()
		}
		order := drain(ends, 210)
		if n := len(slices.DeleteFunc(order, func(s string) bool { return s != "ns/old" })); n < 10 {
			t.Errorf("%d of the first 210 turns went to the client that was there before, want 10", n)
		}
		drain(ends, 600)
	})
}

// A client saves up no time while it does not wait: it does not shut out others when it comes.
func TestTurnsAreNotSavedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, ends := NewTurnstile(1), make(chan string, 1000)
		asked(t, turns, ends, "first", "c", Long, 100, 10*time.Millisecond)
		time.Sleep(505 * time.Millisecond)
		drain(ends, 50)
		asked(t, turns, ends, "second", "c", Long, 50, 10*time.Millisecond)
		order := drain(ends, 21)
		if n := len(slices.DeleteFunc(order, func(s string) bool { return s != "first/c" })); n < 9 || n > 12 {
			t.Errorf("%d of 21 turns went to the client that was there before, want about half", n)
		}
		drain(ends, 79)
	})
}

// Reads of one kind do not take all connections from the other kind, however many wait.
func TestTurnsOfOneKindLeaveOneForTheOther(t *testing.T) {
	for _, conns := range []int{1, 2, 3} {
		for _, flood := range []Kind{Quick, Long} {
			t.Run(fmt.Sprintf("%d connections, flood %d", conns, flood), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					turns, ends := NewTurnstile(conns), make(chan string, 1000)
					asked(t, turns, ends, "n", "flood", flood, 200, 100*time.Millisecond)
					if got, most := turns.running[flood], conns; flood == Long && conns > 1 && got != most-1 {
						t.Errorf("%d long reads run on %d connections, want one less", got, most)
					}
					start := time.Now()
					asked(t, turns, ends, "n", "other", kinds-1-flood, 1, time.Millisecond)
					for o := range ends {
						if o == "n/other" {
							break
						}
					}
					if took := time.Since(start); took > 101*time.Millisecond {
						t.Errorf("the other kind waited %v, want no longer than one read of the flood", took)
					}
					synctest.Wait()
					turns.mu.Lock()
					left := turns.lines[flood].waiting + turns.running[flood]
					turns.mu.Unlock()
					drain(ends, left)
				})
			})
		}
	}
}

// A read that gives up holds neither its place nor a connection that it was given at that moment.
func TestTurnsThatAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurnstile(1)
		for range 1000 {
			first, err := turns.take(t.Context(), "n", "first", Quick)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan error)
			go func() {
				done, err := turns.take(ctx, "n", "second", Quick)
				if err == nil {
					done()
				}
				over <- err
			}()
			synctest.Wait()
			go cancel()
			go first()
			if err := <-over; err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if turns.running[Quick] != 0 || turns.Waiting() != 0 {
			t.Errorf("%d reads run and %d wait when all is done", turns.running[Quick], turns.Waiting())
		}
	})
}

// The number of remembered namespaces and clients does not grow while some always wait.
func TestTurnsForgetWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurnstile(1)
		next, err := turns.take(t.Context(), "n0", "c", Long)
		if err != nil {
			t.Fatal(err)
		}
		most := 0
		for i := 1; i < 5000; i++ {
			got := make(chan func())
			go func() {
				done, _ := turns.take(t.Context(), fmt.Sprint("n", i), "c", Long)
				got <- done
			}()
			synctest.Wait()
			time.Sleep(100 * time.Millisecond)
			next()
			next = <-got
			most = max(most, len(turns.lines[Long].spaces.all))
		}
		next()
		if most > 500 {
			t.Errorf("up to %d namespaces were remembered, though two at a time had a turn", most)
		}
	})
}
