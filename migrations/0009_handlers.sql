-- Handlers: functions of applications that run for events, at least once each.

-- +goose Up

-- A handler is named in its namespace; instances that register the same name
-- share its work. Everything up to position has become jobs.
CREATE TABLE culvert.handlers (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace_id integer NOT NULL REFERENCES culvert.namespaces ON DELETE CASCADE,
    name         text NOT NULL,
    pattern      text NOT NULL,      -- of event names
    answers      boolean NOT NULL,   -- asks expect a reply from it
    position     bigint NOT NULL,
    live_until   timestamptz NOT NULL, -- some instance runs it until then
    gaps         integer NOT NULL DEFAULT 0, -- times that events were pruned before they became jobs
    UNIQUE (namespace_id, name)
);

-- An event that a handler has not finished with, copied, so that retention does
-- not take it from under a retry. due is when it may be run next: while it runs,
-- the end of its lease. A claim is known by its number.
CREATE TABLE culvert.handler_jobs (
    handler_id  integer NOT NULL REFERENCES culvert.handlers ON DELETE CASCADE,
    "offset"    bigint NOT NULL,
    room        text NOT NULL,
    at          timestamptz NOT NULL,
    is_binary   boolean NOT NULL,
    event       text NOT NULL,
    sender      text,
    except_     text[],
    data        text NOT NULL,
    reply_until timestamptz,
    due         timestamptz NOT NULL DEFAULT clock_timestamp(),
    claim       bigint NOT NULL DEFAULT 0,
    tries       integer NOT NULL DEFAULT 0,
    error       text,        -- of the last try
    parked_at   timestamptz, -- it is not run again until an operator says so
    PRIMARY KEY (handler_id, "offset")
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX handler_jobs_due ON culvert.handler_jobs (handler_id, due) WHERE parked_at IS NULL;
CREATE INDEX handler_jobs_parked ON culvert.handler_jobs (handler_id, "offset") WHERE parked_at IS NOT NULL;

-- handles reports whether a pattern covers an event name: "*" is any run of
-- characters, and Culvert's own events need a pattern that begins like them.
-- +goose StatementBegin
CREATE FUNCTION culvert.handles(pattern text, event text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT event LIKE replace(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')
       AND (NOT starts_with(event, 'culvert:') OR starts_with(pattern, 'culvert:'))
$$;
-- +goose StatementEnd

-- dispatch makes jobs of the events after a handler's position, looking at up to
-- rows_ rows, and moves the position, both or neither. Another instance that does
-- so at the moment makes it busy. moved is how many jobs were made, more whether
-- there was more to look at. lost tells of events of the namespace that retention
-- took before: after gap_from, up to gap_to.
--
-- It reads like culvert.follow and is VOLATILE for the same reason. Culvert's
-- hidden rooms, which begin with U+0001, are nobody's.
-- +goose StatementBegin
CREATE FUNCTION culvert.dispatch(handler integer, rows_ integer, OUT busy boolean, OUT moved integer, OUT more boolean,
                                 OUT lost boolean, OUT gap_from bigint, OUT gap_to bigint)
LANGUAGE plpgsql
SET enable_bitmapscan = off SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    h      culvert.handlers;
    start  bigint;
    last   bigint;
    seen   integer;
BEGIN
    moved := 0; more := false; lost := false;
    SELECT * INTO h FROM culvert.handlers k WHERE k.id = handler FOR UPDATE SKIP LOCKED;
    busy := NOT FOUND;
    IF busy THEN
        RETURN;
    END IF;
    -- Below its floor a namespace has no events, also while they still lie there.
    SELECT greatest(h.position, n.floor) INTO start
      FROM culvert.namespaces n
     WHERE n.id = h.namespace_id AND n.name IS NOT NULL;
    IF NOT FOUND THEN -- deleted: whoever runs the handler finds out and starts over
        RETURN;
    END IF;
    SELECT count(*), max(e."offset") INTO seen, last
      FROM (SELECT "offset"
              FROM culvert.events
             WHERE events."offset" > start
             ORDER BY events."offset", events.room_id
             LIMIT rows_) e;
    IF seen = rows_ THEN
        more := true;
        last := last - 1; -- the last one may have more rooms
    END IF;
    last := coalesce(last, start);
    INSERT INTO culvert.handler_jobs (handler_id, "offset", room, at, is_binary, event, sender, except_, data, reply_until)
    SELECT DISTINCT ON (e."offset") h.id, e."offset", r.name, e.at, e.is_binary, e.event, e.sender, e.except_, e.data, e.reply_until
      FROM culvert.events e
      JOIN culvert.rooms r ON r.id = e.room_id
     WHERE e."offset" > start AND e."offset" <= last
       AND r.namespace_id = h.namespace_id AND NOT starts_with(r.name, E'\x01')
       AND culvert.handles(h.pattern, e.event)
     ORDER BY e."offset", r.name COLLATE "C";
    GET DIAGNOSTICS moved = ROW_COUNT;

    -- Last, because no slice can be dropped any more: this transaction has them locked.
    SELECT max(r.pruned) INTO gap_to
      FROM culvert.rooms r
     WHERE r.namespace_id = h.namespace_id;
    lost := coalesce(gap_to > h.position, false);
    gap_from := h.position;
    last := greatest(last, CASE WHEN lost THEN gap_to END);
    IF last > h.position THEN
        UPDATE culvert.handlers k SET position = last, gaps = k.gaps + lost::integer WHERE k.id = h.id;
    END IF;
END
$$;
-- +goose StatementEnd

-- expected is the parties a reply to an event is expected from, when its emitter
-- gives no count.
-- +goose StatementBegin
CREATE FUNCTION culvert.expected(ns integer, event text, rooms text[], except_ text[]) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(p.party), '{}')
      FROM ((SELECT i.name AS party FROM culvert.inside(ns, rooms) i
             EXCEPT
             SELECT i.name FROM culvert.inside(ns, except_) i)
            UNION ALL
            SELECT E'\x01' || h.name
              FROM culvert.handlers h
             WHERE h.namespace_id = ns AND h.answers AND h.live_until > statement_timestamp()
               AND culvert.handles(h.pattern, event)) p
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION culvert.handles, culvert.dispatch, culvert.expected FROM PUBLIC;

-- +goose Down
DROP FUNCTION culvert.expected, culvert.dispatch, culvert.handles;
DROP TABLE culvert.handler_jobs, culvert.handlers;
