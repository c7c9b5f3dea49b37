package auth

import (
	"testing"

	"github.com/culvertmq/culvert/event"
)

// An identity keeps the rights it began with, whatever the application does to its slices later.
func TestACallerIsCopied(t *testing.T) {
	c := Caller{Client: event.MustClient("alice"), Rooms: []string{"lobby"}, Emit: []string{"lobby"}}
	who, err := c.identity()
	if err != nil {
		t.Fatal(err)
	}
	c.Rooms[0], c.Emit[0] = "*", "*"
	if staff := event.MustRoom("staff"); who.MayRead(staff) || who.MayEmit(staff) || !who.MayRead(event.MustRoom("lobby")) {
		t.Errorf("the caller is %+v", who)
	}
}

// Backends of an application are told apart by their names, and no name is an API key.
func TestBackendsAreToldApart(t *testing.T) {
	one, two := Caller{Backend: true, Name: "one"}, Caller{Backend: true, Name: "two"}
	first, err := one.identity()
	second, err2 := two.identity()
	if err != nil || err2 != nil || first.Key == second.Key || first.Key == (KeyID{}) || first.Key == KeyOf("one") {
		t.Errorf("keys %v and %v, %v, %v", first.Key, second.Key, err, err2)
	}
}
