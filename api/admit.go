package api

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/culvertmq/culvert/api/visit"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

// admit lets only callers in that may use the namespace. The order of the checks matters: first 401, then 404
// for the namespace of others, then errors in the request's address, then 429.
func (h *Handler) admit(serve func(*call) error) echo.HandlerFunc {
	return func(ec echo.Context) error {
		c, badQuery, err := h.begin(ec)
		if err != nil {
			return err
		}
		name, err := c.param("ns")
		if err != nil {
			return err
		}
		if !c.who.MayUse(name) {
			return wire.Refuse(wire.NotFound, "", wire.NothingHere)
		}
		if c.ns, err = event.ParseNamespace(name); err != nil {
			return err
		}
		if err := h.keys.Check(c.ns, &c.who); err != nil {
			return err
		}
		if badQuery != nil {
			return wire.Refuse(wire.BadParameter, "", badQueryText)
		}
		if err := c.checkParameters(ec.Path()); err != nil {
			return err
		}
		if err := c.actAs(); err != nil {
			return err
		}
		if ec.Path() != emitRoute { // emit counts its events instead
			if err := h.limits.TakeRequest(c.ns, &c.who); err != nil {
				return err
			}
		}
		if err := h.enterUnderWay(c); err != nil {
			return err
		}
		if err := h.withoutBody(c, ec.Path()); err != nil {
			return err
		}
		c.w.Header().Set("Cache-Control", "no-store")
		return serve(c)
	}
}

// admitKey lets only backends in. It is for routes that are not about one namespace.
func (h *Handler) admitKey(serve func(*call) error) echo.HandlerFunc {
	return func(ec echo.Context) error {
		c, badQuery, err := h.begin(ec)
		switch {
		case err != nil:
			return err
		case !c.who.Backend:
			return wire.Refuse(wire.NotFound, "", wire.NothingHere)
		case badQuery != nil:
			return wire.Refuse(wire.BadParameter, "", badQueryText)
		}
		if err := c.checkParameters(ec.Path()); err != nil {
			return err
		}
		if err := h.enterUnderWay(c); err != nil {
			return err
		}
		if err := h.withoutBody(c, ec.Path()); err != nil {
			return err
		}
		c.w.Header().Set("Cache-Control", "no-store")
		return serve(c)
	}
}

// begin finds the sender of a request and makes a call from it. badQuery says that the query cannot be parsed.
// The caller returns it only after it has checked that the sender may learn of it.
func (h *Handler) begin(ec echo.Context) (c *call, badQuery, err error) {
	r, w := ec.Request(), ec.Response()
	v, ok := w.Writer.(*visit.Visit)
	if !ok {
		return nil, nil, errors.New("a middleware has replaced the response writer")
	}
	// ctl is the server's controller, since Echo's own Flush hides errors.
	c = &call{quota: *h.o.RoomQuota, w: w, r: r, ctl: v.Control, visit: v, path: ec}
	if r.URL.RawQuery != "" {
		var values url.Values
		values, badQuery = url.ParseQuery(r.URL.RawQuery)
		c.query = query{values}
	}
	c.who, err = h.keys.Identify(r, c.query.values)
	return c, badQuery, err
}

// checkParameters refuses query parameters that the route does not take, and duplicate headers.
func (c *call) checkParameters(path string) error {
	if err := c.query.check(c.r.Method, path); err != nil {
		return err
	}
	return checkHeaders(c.r.Header)
}

// singleHeaders are headers that may have only one value (RFC 9110, section 5.3): if there are two, a proxy may
// have acted on the other one. Authorization and Idempotency-Key are not in the list, because their readers
// refuse duplicates.
var singleHeaders = []string{"Content-Type", "Content-Encoding", "Last-Event-Id"}

// checkHeaders refuses duplicates of the singleHeaders.
func checkHeaders(h http.Header) error {
	for _, name := range singleHeaders {
		if len(h[name]) > 1 {
			return wire.Refuse(wire.BadParameter, name, "duplicate header")
		}
	}
	return nil
}

const badQueryText = "the query string is not percent-encoded correctly"

// actAs applies ?client=: a backend names the client it acts for; a token may only name its own subject.
func (c *call) actAs() error {
	name, given, err := c.query.one("client")
	if err != nil || !given {
		return err
	}
	if !c.who.Backend {
		if name != c.who.Client.String() {
			return wire.Refuse(wire.NotFound, "", wire.NothingHere)
		}
		return nil
	}
	c.who.Client, err = event.ParseClient(name)
	return err
}

// enterUnderWay counts the call among the requests under way, and its connection as one with good credentials.
func (h *Handler) enterUnderWay(c *call) error {
	c.visit.Introduce()
	return h.limits.Enter(&c.visit.Account, c.ns, &c.who)
}
