package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// history serves GET /v1/{ns}/rooms/{room}/events.
func (h *Handler) history(c *call) error {
	room, err := c.room()
	if err != nil {
		return err
	}
	after, err := c.query.cursor("after")
	if err != nil {
		return err
	}
	limit, err := c.query.limit()
	if err != nil {
		return err
	}
	if !c.who.MayRead(room) {
		return wire.Refuse(wire.Forbidden, "room", "the token does not allow reading room "+strconv.Quote(room.String()))
	}
	b, err := h.queue.HistoryOf(c.r.Context(), queue.Interest{
		Namespace: c.ns, Client: c.who.Client, Rooms: []event.Room{room}, After: after, Memory: &c.visit.Account,
	}, limit)
	if err != nil {
		return c.visit.Account.Explain(err)
	}
	p := page{batch: b}
	header := c.w.Header()
	header.Set("Cache-Control", "private, no-cache")
	if b.Final && h.isPublic(c, room) {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if b.Final || len(b.Events) == limit {
		tag := p.etag()
		header.Set("ETag", tag)
		if noneMatch(c.r.Header, tag) {
			c.w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	h.metrics.read.Add(float64(len(b.Events)))
	return h.writePage(c, p)
}

// isPublic reports whether any cache may keep a final page of the room and show it to anybody. The namespace
// must allow it, and the URL must contain nothing about the caller, since caches keep the URL, too.
func (h *Handler) isPublic(c *call, room event.Room) bool {
	for name := range c.query.values {
		if name != "after" && name != "limit" {
			return false
		}
	}
	return slices.ContainsFunc(h.registry.Settings(c.ns).Public, func(p string) bool { return auth.Opens(p, room.String()) })
}

// etag returns a strong ETag: the hash of the page's bytes.
func (p page) etag() string {
	sum := sha256.New()
	_ = p.each(func(b []byte) error { sum.Write(b); return nil })
	return `"` + hex.EncodeToString(sum.Sum(nil)[:12]) + `"`
}

// noneMatch reports whether If-None-Match names the tag. It compares weakly (RFC 9110, 13.1.2), since proxies
// that compress make tags weak.
func noneMatch(h http.Header, tag string) bool {
	for _, line := range h.Values("If-None-Match") {
		for t := range strings.SplitSeq(line, ",") {
			t = strings.TrimSpace(t)
			if t == "*" || strings.TrimPrefix(t, "W/") == tag {
				return true
			}
		}
	}
	return false
}
