package api

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

// namespaces is the part of the registry that stores namespaces.
type namespaces interface {
	Settings(ns event.Namespace) registry.NamespaceSettings
	NamespacesAfter(ctx context.Context, after event.Namespace, only []event.Namespace, limit int) ([]registry.NamespaceState, error)
	Namespace(ctx context.Context, ns event.Namespace) (registry.NamespaceState, error)
	PutNamespace(ctx context.Context, ns event.Namespace, s registry.NamespaceSettings) (made bool, err error)
	SetNamespace(ctx context.Context, ns event.Namespace, edit func(*registry.NamespaceSettings) error) (registry.NamespaceState, error)
	DeleteNamespace(ctx context.Context, ns event.Namespace) error
}

// namespaces serves GET /v1: the namespaces that the key may use.
func (h *Handler) namespaces(c *call) error {
	limit, err := c.query.limit()
	if err != nil {
		return err
	}
	var after event.Namespace
	if name, given, err := c.query.one("after"); err != nil {
		return err
	} else if given {
		if after, err = event.ParseNamespace(name); err != nil {
			return wire.InField(err, "after")
		}
	}
	only, err := c.who.Only()
	if err != nil {
		return err
	}
	states, err := h.registry.NamespacesAfter(c.r.Context(), after, only, limit+1)
	if err != nil {
		return err
	}
	states, more := upTo(states, limit)
	return h.reply(c, http.StatusOK, appendList(nil, "namespaces", states, more, appendNamespace))
}

// namespace serves GET /v1/{ns}.
func (h *Handler) namespace(c *call) error {
	if err := c.needBackend(); err != nil {
		return err
	}
	s, err := h.registry.Namespace(c.r.Context(), c.ns)
	if err != nil {
		return err
	}
	return h.reply(c, http.StatusOK, appendNamespace(nil, s))
}

// putNamespace serves PUT /v1/{ns}: it makes the namespace, or replaces all its settings.
func (h *Handler) putNamespace(c *call) error {
	if err := c.mayAdminister(); err != nil {
		return err
	}
	body := bodies.Get()
	defer bodies.Put(body)
	var settings registry.NamespaceSettings
	err := h.readSettings(c, body)
	if err == nil {
		err = applySettings(&settings, *body)
	}
	if err != nil {
		return err
	}
	made, err := h.registry.PutNamespace(c.r.Context(), c.ns, settings)
	if err != nil {
		return err
	}
	s, err := h.registry.Namespace(c.r.Context(), c.ns)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if made {
		status = http.StatusCreated
	}
	return h.reply(c, status, appendNamespace(nil, s))
}

// patchNamespace serves PATCH /v1/{ns}: it changes the settings that the body names.
func (h *Handler) patchNamespace(c *call) error {
	if err := c.mayAdminister(); err != nil {
		return err
	}
	body := bodies.Get()
	defer bodies.Put(body)
	if err := h.readSettings(c, body); err != nil {
		return err
	}
	s, err := h.registry.SetNamespace(c.r.Context(), c.ns, func(s *registry.NamespaceSettings) error {
		return applySettings(s, *body)
	})
	if err != nil {
		return err
	}
	return h.reply(c, http.StatusOK, appendNamespace(nil, s))
}

// deleteNamespace serves DELETE /v1/{ns}.
func (h *Handler) deleteNamespace(c *call) error {
	if err := c.mayAdminister(); err != nil {
		return err
	}
	if err := h.registry.DeleteNamespace(c.r.Context(), c.ns); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// needBackend answers all but backends as if there were nothing here.
func (c *call) needBackend() error {
	if !c.who.Backend {
		return wire.Refuse(wire.NotFound, "", wire.NothingHere)
	}
	return nil
}

// mayAdminister refuses a key for some namespaces: it must not change the limits that are set for it.
func (c *call) mayAdminister() error {
	if err := c.needBackend(); err != nil {
		return err
	}
	if !c.who.EveryNamespace() {
		return wire.Refuse(wire.Forbidden, "", "only a key for all namespaces may change a namespace")
	}
	return nil
}

// readSettings reads a body of settings. No body and an empty body count as {}.
func (h *Handler) readSettings(c *call, body *[]byte) error {
	media, err := wire.MediaType(c.r)
	if err == nil && media != wire.MediaJSON {
		err = wire.Refuse(wire.Unsupported, "", "want Content-Type: application/json")
	}
	if err != nil && c.r.ContentLength > 0 {
		return err
	}
	if err := h.readRaw(c, body); err != nil {
		return err
	}
	if len(*body) == 0 {
		*body = append(*body, "{}"...)
		return nil
	}
	if err != nil {
		return err
	}
	return wire.CheckJSON(*body)
}

// applySettings changes the settings that body names; null resets one.
func applySettings(s *registry.NamespaceSettings, body []byte) error {
	values := map[string]*[]byte{}
	err := wire.Object(body, "", func(name string) *[]byte {
		if _, known := registry.SettingNamed(name); !known {
			return nil
		}
		if values[name] == nil {
			values[name] = new([]byte)
		}
		return values[name]
	})
	if err != nil {
		return err
	}
	for _, setting := range registry.AllSettings() {
		if value := values[setting.Name]; value != nil {
			if err := readSetting(setting.Name, *value, setting.Of(s)); err != nil {
				return err
			}
		}
	}
	return s.Check()
}

func readSetting(name string, value []byte, to any) error {
	if list, ok := to.(*[]string); ok {
		*list = nil
		if wire.IsNull(value) {
			return nil
		}
		isArray, err := wire.Elements(value, func(_ int, v []byte) error {
			s, err := wire.Text(name, v)
			*list = append(*list, s)
			return err
		})
		if !isArray {
			return wire.Refuse(wire.Invalid, name, name+" must be an array of patterns")
		}
		return err
	}
	var n float64
	if !wire.IsNull(value) && json.Unmarshal(value, &n) != nil {
		return wire.Refuse(wire.Invalid, name, name+" must be a number or null")
	}
	switch to := to.(type) {
	case *time.Duration:
		if n < 0 || n > math.MaxInt64/float64(time.Second)/2 {
			return wire.Refuse(wire.Invalid, name, name+" must be a number of seconds, at least 1")
		}
		*to = time.Duration(n * float64(time.Second))
	case *float64:
		*to = n
	case *int:
		if n != math.Trunc(n) || math.Abs(n) > 1<<31 {
			return wire.Refuse(wire.Invalid, name, name+" must be a whole number or null")
		}
		*to = int(n)
	}
	return nil
}

// appendNamespace adds a namespace. null is a setting that the namespace leaves to the server.
func appendNamespace(b []byte, s registry.NamespaceState) []byte {
	b = wire.AppendString(append(b, `{"namespace":`...), s.Namespace.String())
	b = wire.AppendTime(append(b, `,"created_at":`...), s.CreatedAt)
	for _, setting := range registry.AllSettings() {
		b = append(append(append(b, `,"`...), setting.Name...), `":`...)
		switch v := setting.Of(&s.Settings).(type) {
		case *[]string:
			b = appendStrings(b, *v)
		case *time.Duration:
			b = appendNumber(b, v.Seconds())
		case *float64:
			b = appendNumber(b, *v)
		case *int:
			b = appendNumber(b, float64(*v))
		}
	}
	return append(b, '}')
}

func appendStrings(b []byte, all []string) []byte {
	b = append(b, '[')
	for i, s := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, s)
	}
	return append(b, ']')
}

func appendNumber(b []byte, n float64) []byte {
	if n == 0 {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, n, 'f', -1, 64)
}
