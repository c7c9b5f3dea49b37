package api

import (
	"context"
	"net/http"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/queue/registry"
)

// registrar is the part of the queue that keeps namespaces.
type registrar interface {
	Settings(ns event.Namespace) registry.NamespaceSettings
	NamespacesAfter(ctx context.Context, after event.Namespace, only []event.Namespace, limit int) ([]registry.NamespaceState, error)
	Namespace(ctx context.Context, ns event.Namespace) (registry.NamespaceState, error)
	PutNamespace(ctx context.Context, ns event.Namespace, s registry.NamespaceSettings) (made bool, err error)
	SetNamespace(ctx context.Context, ns event.Namespace, edit func(*registry.NamespaceSettings) error) (registry.NamespaceState, error)
	DeleteNamespace(ctx context.Context, ns event.Namespace) error
}

const (
	namespacesRoute = "/v1"
	namespaceRoute  = "/v1/:ns"
)

// namespaces serves GET /v1: those the key may use.
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
			return inField(err, "after")
		}
	}
	var only []event.Namespace // nil: all
	if c.who.grant != nil {
		only = c.who.grant.Namespaces
	}
	states, err := h.queue.NamespacesAfter(c.r.Context(), after, only, limit+1)
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
	s, err := h.queue.Namespace(c.r.Context(), c.ns)
	if err != nil {
		return err
	}
	return h.reply(c, http.StatusOK, appendNamespace(nil, s))
}

// putNamespace serves PUT /v1/{ns}: it makes the namespace, or gives it these
// settings and no others.
func (h *Handler) putNamespace(c *call) error {
	if err := c.mayAdminister(); err != nil {
		return err
	}
	body := bodies.get()
	defer bodies.put(body)
	var settings registry.NamespaceSettings
	err := readSettings(c, body)
	if err == nil {
		err = applySettings(&settings, *body)
	}
	if err != nil {
		return err
	}
	made, err := h.queue.PutNamespace(c.r.Context(), c.ns, settings)
	if err != nil {
		return err
	}
	s, err := h.queue.Namespace(c.r.Context(), c.ns)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if made {
		status = http.StatusCreated
	}
	return h.reply(c, status, appendNamespace(nil, s))
}

// patchNamespace serves PATCH /v1/{ns}: it sets the members that are there.
func (h *Handler) patchNamespace(c *call) error {
	if err := c.mayAdminister(); err != nil {
		return err
	}
	body := bodies.get()
	defer bodies.put(body)
	if err := readSettings(c, body); err != nil {
		return err
	}
	s, err := h.queue.SetNamespace(c.r.Context(), c.ns, func(s *registry.NamespaceSettings) error {
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
	if err := h.queue.DeleteNamespace(c.r.Context(), c.ns); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// needBackend hides what only keys may know of.
func (c *call) needBackend() error {
	if !c.who.backend {
		return refuse(notFound, "", nothingHere)
	}
	return nil
}

// mayAdminister refuses a key made for some namespaces: whom limits are set for
// must not lift them.
func (c *call) mayAdminister() error {
	if err := c.needBackend(); err != nil {
		return err
	}
	if c.who.namespaces != nil {
		return refuse(forbidden, "", "changing namespaces needs a key that is made for all of them")
	}
	return nil
}
