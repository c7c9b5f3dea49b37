-- The log: its identity, its slices, its events, and its readers.

-- +goose Up

-- Namespaces and rooms have numeric ids that are never reused, so that an
-- instance may remember them; see culvert.log.generation for how long.
CREATE TABLE culvert.namespaces (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL once it was deleted: the row is then kept for a while, so that instances notice.
    name       text CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at timestamptz,
    -- No event of the namespace is at or below the floor. The floor begins at the head, so
    -- that nobody can reach what an earlier namespace of the same name left behind, and
    -- rises with the namespace's own retention.
    born       bigint NOT NULL DEFAULT 0,
    floor      bigint NOT NULL DEFAULT 0,
    -- Settings; NULL means the server's default.
    retention  interval,
    dedup      interval,
    public     text[],
    presence   text[], -- patterns of rooms that get culvert:join and culvert:leave
    emit_rate  double precision,
    client_rate double precision,
    max_connections_client integer,
    max_rooms_client       integer,
    CHECK ((name IS NULL) = (deleted_at IS NOT NULL))
);
-- Partial, because Postgres then does not treat the name as a key: a deletion, which holds
-- the append lock, does not wait for transactions that insert rooms and clients.
CREATE UNIQUE INDEX namespaces_name ON culvert.namespaces (name) WHERE name IS NOT NULL;
INSERT INTO culvert.namespaces (name) VALUES ('default');

CREATE TABLE culvert.rooms (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace_id integer NOT NULL REFERENCES culvert.namespaces,
    name         text NOT NULL,
    -- The last offset that retention took from this room: only readers whose cursor
    -- is below it have lost something.
    pruned       bigint NOT NULL DEFAULT 0,
    UNIQUE (namespace_id, name)
) WITH (fillfactor = 80);

-- The counter of offsets. It is a sequence and not a row, because dead versions of a row
-- accumulate while an old snapshot is open somewhere. It is only moved under the append
-- lock, and it may be ahead of the events when an append was rolled back.
CREATE SEQUENCE culvert.offsets AS bigint MINVALUE 0 START 0;

-- A slice is the unit of retention and one partition of events: slice n holds
-- the offsets from n * 10^9 on.
CREATE TABLE culvert.slices (
    n         integer PRIMARY KEY,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz,
    last      bigint, -- no offset above it was given out in this slice; NULL while open
    CHECK ((closed_at IS NULL) = (last IS NULL))
);

-- The one row that says which log this is. It changes when a slice is opened or
-- dropped, never with an event.
CREATE TABLE culvert.log (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    id       text NOT NULL,
    slice    integer NOT NULL,             -- the open one
    floor    bigint NOT NULL DEFAULT 0,    -- every offset up to it was dropped
    started  timestamptz NOT NULL,         -- when the last known postmaster started
    cluster  bigint NOT NULL,              -- its system identifier
    database oid NOT NULL,
    timeline text NOT NULL,                -- of its write-ahead log
    dedup    interval NOT NULL DEFAULT '24 hours', -- how long keys are remembered
    -- It changes whenever ids that instances remember may have become wrong:
    -- a namespace was deleted, or the log lost its end in a failover or restore.
    generation bigint NOT NULL DEFAULT (random() * 9007199254740991)::bigint
);

-- An event has one row for each room it was addressed to, all with one offset. Instances
-- follow the log along the primary key, which also makes it an error to give out an
-- offset twice. Pages of clients are read by the other index.
CREATE TABLE culvert.events (
    "offset"  bigint NOT NULL,
    room_id   bigint NOT NULL,
    at        timestamptz NOT NULL,
    is_binary boolean NOT NULL DEFAULT false,
    event     text NOT NULL,
    sender    text,
    except_   text[],         -- names of rooms whose clients do not get the event
    data      text NOT NULL,  -- one line of JSON; text, so that it is not parsed again
    reply_until timestamptz,  -- a reply is wanted until then; see 0008
    PRIMARY KEY ("offset", room_id)
) PARTITION BY RANGE ("offset");
CREATE INDEX events_room ON culvert.events (room_id, "offset");

-- Events that applications emitted in their own transactions and that no append has
-- moved into the log yet.
CREATE TABLE culvert.staged (
    xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id        bigint GENERATED ALWAYS AS IDENTITY,
    namespace text NOT NULL,
    rooms     text[] NOT NULL,
    except_   text[],
    event     text NOT NULL,
    data      text NOT NULL,
    sender    text,
    key       text,
    hash      bytea,
    PRIMARY KEY (xid, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Idempotency keys within the dedup window.
CREATE TABLE culvert.keys (
    namespace_id integer NOT NULL REFERENCES culvert.namespaces,
    key          text NOT NULL,
    hash         bytea NOT NULL,  -- of the event's content
    "offset"     bigint NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (namespace_id, key)
);
CREATE INDEX keys_at ON culvert.keys (namespace_id, at);

-- Half-empty pages keep the updates of cursors HOT: they add no index entries.
CREATE TABLE culvert.clients (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace_id integer NOT NULL REFERENCES culvert.namespaces,
    name         text NOT NULL,
    cursor       bigint NOT NULL,
    seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    online       boolean NOT NULL DEFAULT false, -- what its rooms were told last, see leases
    UNIQUE (namespace_id, name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- A client is online while some instance holds a lease for it. A lease of an instance
-- that died expires by itself.
CREATE TABLE culvert.leases (
    client_id bigint NOT NULL REFERENCES culvert.clients ON DELETE CASCADE,
    instance  text NOT NULL,
    until     timestamptz NOT NULL,
    PRIMARY KEY (client_id, instance)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX leases_until ON culvert.leases (until);

-- A membership interval of a client in a room: the events after `since` up to `until` are
-- for the client. Both are offsets that culvert.move gave to the changes themselves. An
-- interval that has ended is kept until its client and retention have passed it: a client
-- that was away still gets its events, or a gap.
CREATE TABLE culvert.memberships (
    client_id bigint NOT NULL REFERENCES culvert.clients ON DELETE CASCADE,
    room_id   bigint NOT NULL REFERENCES culvert.rooms,
    since     bigint NOT NULL,
    until     bigint, -- NULL: still a member
    PRIMARY KEY (client_id, room_id, since)
);
CREATE UNIQUE INDEX memberships_now ON culvert.memberships (room_id, client_id) WHERE until IS NULL;
CREATE INDEX memberships_over ON culvert.memberships (until) WHERE until IS NOT NULL;

-- lz4 costs the appender a tenth of what pglz costs. Not every build of Postgres has it.
-- +goose StatementBegin
DO $$
BEGIN
    ALTER TABLE culvert.events ALTER COLUMN data SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this Postgres has no lz4; events are compressed by pglz';
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE culvert.memberships, culvert.leases, culvert.clients, culvert.keys, culvert.staged,
    culvert.events, culvert.log, culvert.slices, culvert.rooms, culvert.namespaces;
DROP SEQUENCE culvert.offsets;
