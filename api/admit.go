package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/visit"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue"
)

// bodyTimeout is how long a request's body may take, whatever becomes of it:
// net/http also reads it after a handler that did not.
const bodyTimeout = 30 * time.Second

// call is one admitted request, as the handlers see it.
type call struct {
	w     http.ResponseWriter // knows the status for metrics
	r     *http.Request
	ctl   *http.ResponseController
	visit *visit.Visit
	who   auth.Identity
	ns    event.Namespace
	query query
	quota event.RoomQuota
	path  interface{ Param(name string) string }
}

// context is the request's, and says for whom something is read.
func (c *call) context() context.Context { return queue.For(c.r.Context(), c.who.Client) }

// admit lets only those in who may use the namespace. The order matters: 401
// before everything, then 404 for another's namespace, then what is wrong with
// the request's address, then 429.
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
		if ec.Path() != emitRoute { // that counts events
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

// admitKey lets only backends in, to what concerns no single namespace.
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

// begin makes a call of a request whose sender is known. A query that cannot be
// read is not refused before it is clear who may learn of that.
func (h *Handler) begin(ec echo.Context) (c *call, badQuery, err error) {
	r, w := ec.Request(), ec.Response()
	v, ok := w.Writer.(*visit.Visit)
	if !ok {
		return nil, nil, errors.New("a middleware hides the writer of the visit")
	}
	// The server's controller: Echo's own Flush swallows errors.
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

// singleHeaders are those of which a request has one value (RFC 9110, section 5.3). Of two, a
// proxy may have acted on the other one. Two of Authorization or Idempotency-Key are refused
// where they are read.
var singleHeaders = []string{"Content-Type", "Content-Encoding", "Last-Event-Id"}

// checkHeaders refuses two values where a field has one.
func checkHeaders(h http.Header) error {
	for _, name := range singleHeaders {
		if len(h[name]) > 1 {
			return wire.Refuse(wire.BadParameter, name, "duplicate header")
		}
	}
	return nil
}

const badQueryText = "the query string is not percent-encoded as it should be"

// param is a part of the path as the caller meant it. Echo matches the escaped
// path where unescaping loses something (RawPath is then set) and the unescaped
// one otherwise; a slash left in a part is one Echo took as part of the last.
func (c *call) param(name string) (string, error) {
	s := c.path.Param(name)
	if strings.Contains(s, "/") {
		return "", wire.Refuse(wire.NotFound, "", wire.NothingHere)
	}
	if c.r.URL.RawPath == "" {
		return s, nil
	}
	s, err := url.PathUnescape(s)
	if err != nil {
		return "", wire.Refuse(wire.BadParameter, name, "the path is not percent-encoded correctly")
	}
	return s, nil
}

// actAs applies ?client=: a backend names whom it acts for, a token can only be
// its own subject.
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

// needClient refuses a backend that named no client.
func (c *call) needClient(field, why string) error {
	if c.who.Client == (event.Client{}) {
		return wire.Refuse(wire.BadParameter, field, why)
	}
	return nil
}

// enterUnderWay counts the call among the requests under way. Its connection is no stranger's from now on.
func (h *Handler) enterUnderWay(c *call) error {
	c.visit.Introduce()
	return h.limits.Enter(&c.visit.Account, c.ns, &c.who)
}
