package visit

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// places are those of requests under way that have shown no good credentials, with those that
// were refused for there being too many; or of connections of strangers, or of idle ones. They need
// nothing but a moment. So there is no limit that refuses a newcomer, with whom many may share
// an address: when there are too many, the one that has lasted longest is cut off.
type places struct {
	ofAddress, ofAll int // how many there may be; 0: any number

	mu    sync.Mutex
	least time.Duration // that each may last
	all   list.List     // of *place, in the order they came
	of    map[netip.Addr]*list.List
}

// held is who has a place.
type held interface {
	// cutOff must not block: nobody comes or leaves meanwhile. What may is returned (or nil),
	// and called when they can.
	cutOff() (then func())
}

// place is where somebody stands in both lists.
type place struct {
	who              held
	address          netip.Addr
	since            time.Time
	inAll, ofAddress *list.Element // nil: it is left
}

// enter takes somebody in, and cuts off who is one too many.
func (a *places) enter(who held, remote string) *place {
	p := &place{who: who, address: addressOf(remote), since: time.Now()}
	for _, then := range a.add(p) {
		if then != nil {
			then()
		}
	}
	return p
}

// add puts a place into the lists, and returns what is left to do for those cut off.
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

// cutOff cuts off the oldest of a list, once it has had its time.
func (a *places) cutOff(of *list.List) (then func()) {
	oldest, ok := of.Front().Value.(*place)
	if !ok || time.Since(oldest.since) < a.least {
		return nil
	}
	a.remove(oldest)
	return oldest.who.cutOff()
}

// leave gives up a place. From then on its owner is not cut off. It may be called again.
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

// addressOf is whose connection it is: an address, or of IPv6 the network that one
// subscriber has for himself. What a proxy says of its clients is not asked, since
// anybody could say it.
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

// len is how many places are taken.
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
