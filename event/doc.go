// Package event has the types of Culvert: what is emitted, what is stored, and what readers get. It does
// nothing by itself; package queue stores and delivers.
//
// Names (Namespace, Room, Client, EventName, Key) and Data are checked once, by the Parse functions or, for
// constants of a program, the Must functions. A value of these types need not be checked again.
//
//	e := event.Emit{
//		Namespace: event.MustNamespace("shop"),
//		Rooms:     []event.Room{event.MustRoom("orders")},
//		Event:     event.MustEventName("paid"),
//		Data:      event.MustData(`{"order":77}`),
//	}
package event
