// Package event has the vocabulary of Culvert: the types of what is emitted, stored and
// received. It does nothing by itself; package queue stores and delivers events.
//
// Names (Namespace, Room, Client, EventName, Key) and Data are checked once, by the Parse
// functions or, for constants of a program, by the Must functions. Values of
// these types need not be checked again.
//
//	e := event.Emit{
//		Namespace: event.MustNamespace("shop"),
//		Rooms:     []event.Room{event.MustRoom("orders")},
//		Event:     event.MustEventName("paid"),
//		Data:      event.MustData(`{"order":77}`),
//	}
package event
