package visit

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// places counts requests under way that have shown no good credentials (including those that were refused for
// there being too many), or connections of strangers, or idle connections. All of these need to last only for a
// moment. So no newcomer is refused: many clients may share one address. When there are too many, the oldest is
// cut off.
type places struct {
	ofAddress, ofAll int // the limits; 0: no limit

	mu    sync.Mutex
	least time.Duration // how long each may last before it can be cut off
	all   list.List     // of *place, in the order they came
	of    map[netip.Addr]*list.List
}

// held is the owner of a place.
type held interface {
	// cutOff must not block, because the lock of places is held meanwhile. It may return a function that blocks
	// (or nil), which is called when the lock is free.
	cutOff() (then func())
}

// place is an owner's position in both lists.
type place struct {
	who              held
	address          netip.Addr
	since            time.Time
	inAll, ofAddress *list.Element // nil after leave
}

// enter gives an owner a place, and cuts off the oldest if there are too many.
func (a *places) enter(who held, remote string) *place {
	p := &place{who: who, address: addressOf(remote), since: time.Now()}
	for _, then := range a.add(p) {
		if then != nil {
			then()
		}
	}
	return p
}

// add puts a place into the lists, and returns the functions to call for those it cut off.
func (a *places) add(p *place) (then [2]func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = map[netip.Addr]*list.List{}
	}
	own := a.of[p.address]
	if own == nil {
		own = list.New()
		a.of[p.address] = own
	}
	p.inAll, p.ofAddress = a.all.PushBack(p), own.PushBack(p)
	if a.ofAddress > 0 && own.Len() > a.ofAddress && p.address.IsValid() {
		then[0] = a.cutOff(own)
	}
	if a.ofAll > 0 && a.all.Len() > a.ofAll {
		then[1] = a.cutOff(&a.all)
	}
	return then
}

// cutOff cuts off the oldest of a list, if it has lasted at least a.least.
func (a *places) cutOff(of *list.List) (then func()) {
	oldest, ok := of.Front().Value.(*place)
	if !ok || time.Since(oldest.since) < a.least {
		return nil
	}
	a.remove(oldest)
	return oldest.who.cutOff()
}

// leave gives up a place: its owner is not cut off any more. It may be called again.
func (a *places) leave(p *place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(p)
}

func (a *places) remove(p *place) {
	if p.inAll == nil {
		return
	}
	own := a.of[p.address]
	a.all.Remove(p.inAll)
	own.Remove(p.ofAddress)
	p.inAll, p.ofAddress = nil, nil
	if own.Len() == 0 {
		delete(a.of, p.address)
	}
}

// addressOf returns the address that a connection counts for: with IPv6, the network that one subscriber has.
// It does not use what a proxy says of its clients, since anybody could send that.
func addressOf(remote string) netip.Addr {
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

// len returns how many places are taken.
func (a *places) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all.Len()
}

// mayLast sets how long each may last at least.
func (a *places) mayLast(least time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.least = least
}
