package queue_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/event"
	"github.com/culvertmq/culvert/internal/localpg/pgtest"
	"github.com/culvertmq/culvert/queue"
	"github.com/culvertmq/culvert/queue/registry"
)

func namespace(s string) event.Namespace { return mustParse(event.ParseNamespace, s) }

// listening waits until n instances hear notifications.
func listening(t *testing.T, dsn string, n int) {
	t.Helper()
	conn := connect(t, dsn)
	until(t, "instances listen", func() bool {
		var got int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`).Scan(&got)
		return err == nil && got == n
	})
}

// A change closes the channel that was taken before it: that of this instance at once, and that of the other one soon.
func TestChangesOfTheRegistryAreTold(t *testing.T) {
	dsn := pgtest.Database(t)
	a, b := open(t, dsn), open(t, dsn)
	for range 3 {
		here, there := a.Registry().Changed(), b.Registry().Changed()
		if err := a.Registry().Revoke(t.Context(), event.MustNamespace("default"), event.MustClient("alice")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-here:
		default:
			t.Error("the channel of the instance that made the change is not closed")
		}
		select {
		case <-there:
		case <-time.After(10 * time.Second):
			t.Fatal("the channel of the other instance is not closed")
		}
	}
}

// An instance learns of the changes of another one, by notification and by polling.
func TestRegistryReachesTheOtherInstance(t *testing.T) {
	for _, mode := range []string{"listen", "poll only"} {
		t.Run(mode, func(t *testing.T) {
			dsn := pgtest.Database(t)
			if mode == "listen" {
				queue.RegistryByNotificationAlone(t)
			}
			change := func(o *queue.Options) { o.PollOnly = mode == "poll only" }
			a, b := open(t, dsn, change), open(t, dsn, change)
			if mode == "listen" {
				listening(t, dsn, 2)
			}
			tenant := namespace("tenant")
			want := registry.NamespaceSettings{Retention: time.Hour, Public: []string{"news-*"}, ClientRate: 2.5, MaxRoomsClient: 7}
			if made, err := a.Registry().PutNamespace(t.Context(), tenant, want); err != nil || !made {
				t.Fatal(made, err)
			}
			if got := a.Registry().Settings(tenant); got.Retention != time.Hour {
				t.Errorf("the instance that changed it has %+v", got)
			}
			until(t, "the other one knows the settings", func() bool { return b.Registry().Settings(tenant).ClientRate == 2.5 })
			want.Presence = []string{}
			if got := b.Registry().Settings(tenant); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			_, token, err := a.Registry().CreateKey(t.Context(), registry.APIKey{})
			if err != nil {
				t.Fatal(err)
			}
			until(t, "the other one knows the key", func() bool { _, ok := b.Registry().Grant(token); return ok })
			if err := a.Registry().DeleteNamespace(t.Context(), tenant); err != nil {
				t.Fatal(err)
			}
			until(t, "the other one knows of the deletion", func() bool { return b.Registry().Settings(tenant).Retention == 0 })
		})
	}
}

func TestNamespaceSettingsAreChecked(t *testing.T) {
	q := open(t, pgtest.Database(t))
	for field, s := range map[string]registry.NamespaceSettings{
		"retention":              {Retention: time.Millisecond},
		"dedup":                  {Dedup: -time.Second},
		"emit_rate":              {EmitRate: -1},
		"client_rate":            {ClientRate: 1e300},
		"max_connections_client": {MaxConnectionsClient: -1},
		"max_rooms_client":       {MaxRoomsClient: 1e9},
		"public[1]":              {Public: []string{"a", ""}},
		"presence[0]":            {Presence: []string{"a\nb"}},
		"public":                 {Public: make([]string, 101)},
	} {
		var bad *event.InvalidError
		if _, err := q.Registry().PutNamespace(t.Context(), namespace("x"), s); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := q.Registry().Namespace(t.Context(), namespace("x")); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("a refused namespace exists: %v", err)
	}
	if _, err := q.Registry().SetNamespace(t.Context(), namespace("x"), func(*registry.NamespaceSettings) error { return nil }); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("set of none: %v", err)
	}
	if err := q.Registry().DeleteNamespace(t.Context(), namespace("x")); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("deletion of none: %v", err)
	}
}

// Strange values stored by hand do not prevent the others from being read, by instances that run or start, and
// give no access.
func TestTheRegistryReadsWhatWasStoredByHand(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	odd := namespace("odd")
	must[bool](t)(q.Registry().PutNamespace(t.Context(), odd, registry.NamespaceSettings{Public: []string{"p"}, Presence: []string{"r"}}))
	_, limited, err := q.Registry().CreateKey(t.Context(), registry.APIKey{Namespaces: []event.Namespace{odd}})
	if err != nil {
		t.Fatal(err)
	}
	_, lasting, err := q.Registry().CreateKey(t.Context(), registry.APIKey{Label: "lasting"})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Registry().Revoke(t.Context(), odd, client("bob")); err != nil {
		t.Fatal(err)
	}
	sql(t, dsn,
		`UPDATE culvert.namespaces SET public = ARRAY['p', NULL], presence = ARRAY[NULL, 'r'], retention = '1000 years', emit_rate = 'NaN', created_at = '-infinity' WHERE name = 'odd'`,
		`UPDATE culvert.api_keys SET namespaces = ARRAY[NULL::text] WHERE namespaces IS NOT NULL`,
		`UPDATE culvert.api_keys SET expires_at = 'infinity', created_at = '-infinity', old_hash = hash, old_until = 'infinity' WHERE label = 'lasting'`,
		`UPDATE culvert.revoked_clients SET at = 'infinity'`,
		`INSERT INTO culvert.namespaces (name, emit_rate) VALUES ('later', 7)`,
		`UPDATE culvert.registry SET version = version + 1`)
	until(t, "what came later is known", func() bool { return q.Registry().Settings(namespace("later")).EmitRate == 7 })
	for name, q := range map[string]*queue.Queue{"running": q, "started": open(t, dsn)} {
		if s := q.Registry().Settings(odd); !slices.Equal(s.Public, []string{"p"}) || !slices.Equal(s.Presence, []string{"r"}) || s.EmitRate != 0 || s.Check() != nil {
			t.Errorf("%s: settings %+v, %v", name, s, s.Check())
		}
		if _, ok := q.Registry().Grant(limited); ok {
			t.Errorf("%s: a key for no namespace gives access to one", name)
		}
		if _, ok := q.Registry().Grant(lasting); !ok {
			t.Errorf("%s: a key that never expires gives no access", name)
		}
		if at := q.Registry().RevokedAt(odd, client("bob")); !at.After(time.Now()) {
			t.Errorf("%s: revoked at %v", name, at)
		}
		all := must[[]registry.NamespaceState](t)(q.Registry().Namespaces(t.Context()))
		keys := must[[]registry.APIKey](t)(q.Registry().Keys(t.Context()))
		if len(all) != 3 || len(keys) != 2 {
			t.Errorf("%s: %d namespaces and %d keys are listed", name, len(all), len(keys))
		}
	}
	if _, err := q.Registry().SetNamespace(t.Context(), odd, func(*registry.NamespaceSettings) error { return nil }); err != nil {
		t.Error(err)
	}
}

// The same names in two namespaces have nothing to do with each other.
func TestNamespacesAreIsolated(t *testing.T) {
	dsn := pgtest.Database(t)
	tailed := open(t, dsn)
	start := tailed.Head()
	paged := open(t, dsn, func(o *queue.Options) { o.TailEvents = 1 })
	spaces := []event.Namespace{namespace("one"), namespace("two")}
	var last event.Cursor
	for _, space := range spaces {
		for _, r := range []string{"r", "*", "@bob"} {
			e := emit(r, `"%s"`, space)
			e.Namespace, e.Key = space, key("k-"+r) // no duplicates of each other
			res := appendOne(t, tailed, e)
			if res.Duplicate {
				t.Errorf("%s: a key of the other namespace counts", space)
			}
			last = res.Cursor
		}
	}
	for _, q := range []*queue.Queue{tailed, paged} {
		until(t, "the tail is there", func() bool { return q.Delivered() == last })
		for _, space := range spaces {
			want := []string{`"` + space.String() + `"`}
			for _, in := range []queue.Interest{{Rooms: []event.Room{room("r")}}, {Client: client("bob")}} {
				in.Namespace, in.After = space, start
				s := must[*queue.Subscription](t)(q.Subscribe(t.Context(), in))
				got := next(t, s, 1)
				if in.Client != (event.Client{}) {
					want = append(want, want[0])
				}
				for len(got) < len(want) {
					got = append(got, next(t, s, 1)...)
				}
				if b := must[event.Batch](t)(s.Poll(t.Context(), 10)); !slices.Equal(got, want) || len(b.Events) > 0 {
					t.Errorf("%s: got %v and %v more, want %v", space, got, len(b.Events), want)
				}
				s.Close()
			}
		}
	}
	if c := must[event.Cursor](t)(tailed.Ack(t.Context(), spaces[0], client("bob"), last)); c != last {
		t.Error(c)
	}
	if s := must[queue.ClientState](t)(tailed.ClientState(t.Context(), spaces[1], client("bob"), nil)); s.Cursor == last {
		t.Error("the acknowledgement moved the other namespace's client")
	}
}

func TestDedupWindowOfANamespace(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn, func(o *queue.Options) { o.Slice = time.Second })
	short, long := namespace("short"), namespace("long")
	for ns, d := range map[event.Namespace]time.Duration{short: time.Minute, long: 48 * time.Hour} {
		if _, err := q.Registry().PutNamespace(t.Context(), ns, registry.NamespaceSettings{Dedup: d}); err != nil {
			t.Fatal(err)
		}
	}
	conn := connect(t, dsn)
	sqlEmit := func(ns event.Namespace) (fresh bool) {
		err := conn.QueryRow(t.Context(), `SELECT culvert.emit(namespace => $1, room => 'sql', event => 'e', key => 'sql')`, ns.String()).Scan(&fresh)
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	emitted := func(ns event.Namespace) int {
		return len(must[event.Batch](t)(q.History(t.Context(), ns, room("sql"), event.Client{}, event.Cursor{}, 10)).Events)
	}
	all := []event.Namespace{ns, short, long}
	for _, ns := range all {
		e := emit("r", "1")
		e.Namespace, e.Key = ns, key("k")
		appendOne(t, q, e)
		sqlEmit(ns)
		until(t, "it is moved into the log", func() bool { return emitted(ns) == 1 })
	}
	sql(t, dsn, `UPDATE culvert.keys SET at = at - interval '30 hours'`)
	for _, ns := range all {
		e := emit("r", "1")
		e.Namespace, e.Key = ns, key("k")
		if r := appendOne(t, q, e); r.Duplicate != (ns == long) {
			t.Errorf("%s after 30 hours: duplicate %v", ns, r.Duplicate)
		}
		if fresh := sqlEmit(ns); fresh != (ns != long) {
			t.Errorf("%s after 30 hours: emit from SQL says %v", ns, fresh)
		}
		if ns != long {
			until(t, "it is moved again", func() bool { return emitted(ns) == 2 })
		}
	}
	if n := emitted(long); n != 1 {
		t.Errorf("emit from SQL stored %d events for one key", n)
	}
	// Clean-up uses the same windows.
	sql(t, dsn, `UPDATE culvert.keys SET at = now() - interval '2 minutes'`)
	until(t, "the short window's keys are gone", func() bool {
		var left []string
		err := conn.QueryRow(t.Context(), `SELECT array_agg(DISTINCT n.name ORDER BY n.name) FROM culvert.keys k JOIN culvert.namespaces n ON n.id = k.namespace_id`).Scan(&left)
		return err == nil && strings.Join(left, " ") == "default long"
	})
}

// Two transactions emit the same key before either can know of the other: the one that is moved later follows
// the namespace's window, too.
func TestDedupWindowOfWhatIsCarried(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	for space, wanted := range map[string]int{"default": 2, "long": 1} {
		if space == "long" {
			if _, err := q.Registry().PutNamespace(t.Context(), namespace(space), registry.NamespaceSettings{Dedup: 48 * time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		call := `SELECT culvert.emit(namespace => '` + space + `', room => 'r', event => 'e', key => 'k')`
		late := connect(t, dsn)
		if _, err := late.Exec(t.Context(), `BEGIN; `+call); err != nil {
			t.Fatal(err)
		}
		events := func() int {
			return len(must[event.Batch](t)(q.History(t.Context(), namespace(space), room("r"), event.Client{}, event.Cursor{}, 10)).Events)
		}
		sql(t, dsn, call)
		until(t, "the first is moved", func() bool { return events() == 1 })
		sql(t, dsn, `UPDATE culvert.keys SET at = at - interval '30 hours'`)
		if _, err := late.Exec(t.Context(), `COMMIT`); err != nil {
			t.Fatal(err)
		}
		conn := connect(t, dsn)
		until(t, "the second is moved", func() bool {
			var staged int
			err := conn.QueryRow(t.Context(), `SELECT count(*) FROM culvert.staged`).Scan(&staged)
			return err == nil && staged == 0
		})
		if n := events(); n != wanted {
			t.Errorf("%s: %d events, want %d", space, n, wanted)
		}
	}
}

// A revocation never moves back, whichever clock it is made by: what it refused stays refused.
func TestRevokingAgainSparesNoToken(t *testing.T) {
	dsn := pgtest.Database(t)
	q := open(t, dsn)
	bob := client("bob")
	if err := q.Registry().Revoke(t.Context(), namespace("default"), bob); err != nil {
		t.Fatal(err)
	}
	ahead := time.Now().Add(time.Hour)
	sql(t, dsn, `UPDATE culvert.revoked_clients SET at = clock_timestamp() + interval '2 hours'`)
	if err := q.Registry().Revoke(t.Context(), namespace("default"), bob); err != nil {
		t.Fatal(err)
	}
	if at := q.Registry().RevokedAt(namespace("default"), bob); at.Before(ahead) {
		t.Errorf("the revocation moved back to %v", at)
	}
}

// A caller cannot close the registry of a queue that is in use.
func TestARegistryOfAQueueLivesAsLongAsTheQueue(t *testing.T) {
	q := open(t, pgtest.Database(t))
	q.Registry().Close()
	if _, err := q.Registry().Namespaces(t.Context()); err != nil {
		t.Errorf("namespaces: %v", err)
	}
	appendOne(t, q, emit("r", "1"))
}
