package visit

import "testing"

// TestAddresses: which connections count as of one address.
func TestAddresses(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1", "[2001:db8::1:2:3:4]:80": "2001:db8::", "@": "invalid IP", "": "invalid IP",
	} {
		if got := addressOf(remote).String(); got != want {
			t.Errorf("%s is %s, want %s", remote, got, want)
		}
	}
}

// Nothing is kept of owners that left or were cut off.
func TestPlacesAreForgotten(t *testing.T) {
	p := places{ofAddress: 1}
	first := p.enter(cut{}, "192.0.2.1:1")
	second := p.enter(cut{}, "192.0.2.1:2")
	third := p.enter(cut{}, "192.0.2.2:1")
	if n := p.len(); n != 2 {
		t.Errorf("%d places, want those of the second and the third", n)
	}
	for _, left := range []*place{first, second, third, third} {
		p.leave(left)
	}
	if p.len() != 0 || len(p.of) != 0 {
		t.Errorf("%d places of %d addresses are left", p.len(), len(p.of))
	}
}

// cut is an owner of a place; to cut it off does nothing.
type cut struct{}

func (cut) cutOff() (then func()) { return nil }
