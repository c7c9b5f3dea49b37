// Package event has the words of Culvert: what is emitted, what is stored, and what readers
// get. It does nothing by itself; package queue stores and delivers.
//
// Names (Namespace, Room, Client, EventName, Key) and Data are checked once, by the Parse
// functions or, for constants of a program, the Must functions. Whoever has a value of
// these types need not check it again.
//
//	e := event.Emit{
//		Namespace: event.MustNamespace("shop"),
//		Rooms:     []event.Room{event.MustRoom("orders")},
//		Event:     event.MustEventName("paid"),
//		Data:      event.MustData(`{"order":77}`),
//	}
package event
