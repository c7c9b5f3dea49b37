SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA culvert;
CREATE FUNCTION culvert.announce(ids bigint[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    WITH turned AS (
         UPDATE culvert.clients c
            SET online = NOT c.online
          WHERE c.id = ANY (ids) AND c.online <> culvert.is_online(c.id)
         RETURNING c.id, c.name, c.namespace_id, c.online)
    INSERT INTO culvert.staged (namespace, rooms, event, data)
    SELECT n.name, ARRAY[room.name], CASE WHEN t.online THEN 'culvert:join' ELSE 'culvert:leave' END,
           '{"client":' || to_json(t.name)::text || '}'
      FROM turned t
      JOIN culvert.namespaces n ON n.id = t.namespace_id AND n.presence IS NOT NULL
     CROSS JOIN LATERAL (
           SELECT r.name
             FROM culvert.memberships m
             JOIN culvert.rooms r ON r.id = m.room_id
            WHERE m.client_id = t.id AND m.until IS NULL
            UNION ALL
           SELECT '*') room
     WHERE culvert.matches(n.presence, room.name);
    IF FOUND THEN
        PERFORM pg_notify('culvert', 'staged');
    END IF;
END
$$;
CREATE FUNCTION culvert.announce_move(client bigint, room bigint, event text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO culvert.staged (namespace, rooms, event, data)
    SELECT n.name, ARRAY[r.name], event, '{"client":' || to_json(c.name)::text || '}'
      FROM culvert.clients c
      JOIN culvert.namespaces n ON n.id = c.namespace_id AND n.presence IS NOT NULL
      JOIN culvert.memberships m ON m.client_id = c.id AND m.until IS NULL AND (room IS NULL OR m.room_id = room)
      JOIN culvert.rooms r ON r.id = m.room_id AND culvert.matches(n.presence, r.name)
     WHERE c.id = client AND c.online;
    RETURN FOUND;
END
$$;
CREATE FUNCTION culvert.append(INOUT seen xid8, pos integer[], room bigint[], event text[], data text[], is_binary boolean[], sender text[], except_ text[], key_ns integer[], key text[], key_hash bytea[], key_pos integer[], INOUT generation bigint, reply_ms integer[], asks json, OUT log text, OUT prev bigint, OUT base bigint, OUT head bigint, OUT at timestamp with time zone, OUT moved integer, OUT known integer[], OUT known_offset bigint[], OUT known_same boolean[]) RETURNS record
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_variable
DECLARE
    l culvert.log;
    n integer := coalesce(pos[cardinality(pos)], 0);
    xmin xid8;
    stored integer := 0;
BEGIN
    l := culvert.lock_log();
    log := l.id;
    at := clock_timestamp();
    moved := 0;
    SELECT o.last_value INTO prev FROM culvert.offsets o;
    base := prev;
    head := prev;
    IF generation <> l.generation THEN
        generation := l.generation;
        RETURN;
    END IF;
    IF cardinality(key) > 0 THEN
        SELECT array_agg(k.i), array_agg(s."offset"), array_agg(s.hash = k.hash)
          INTO known, known_offset, known_same
          FROM unnest(key_ns, key, key_hash) WITH ORDINALITY AS k (ns, key, hash, i)
          JOIN culvert.keys s ON s.namespace_id = k.ns AND s.key = k.key
          JOIN culvert.namespaces n ON n.id = k.ns
         WHERE s.at > at - coalesce(n.dedup, l.dedup);
        IF known IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    IF prev + n + 1000 >= (l.slice + 1)::bigint * 1000000000 THEN
        base := culvert.next_slice();
    END IF;
    -- Taken before the rows are, so that it is not above one they leave behind.
    xmin := pg_snapshot_xmin(pg_current_snapshot());
    IF EXISTS (SELECT FROM culvert.staged s WHERE s.xid >= seen) THEN
        SELECT c.moved, c.stored INTO moved, stored FROM culvert.carry(seen, base, l.dedup) c;
        base := base + stored;
    END IF;
    IF moved < 1000 THEN
        seen := xmin;
    END IF;
    IF n + stored = 0 THEN
        RETURN;
    END IF;
    INSERT INTO culvert.events ("offset", room_id, at, is_binary, event, sender, except_, data, reply_until)
    SELECT base + e.pos, e.room, at, e.is_binary, e.event, NULLIF(e.sender, ''), NULLIF(e.except_, '')::text[], e.data,
           at + NULLIF(e.reply_ms, 0) * interval '1 millisecond'
      FROM unnest(pos, room, event, data, is_binary, sender, except_, reply_ms)
           AS e (pos, room, event, data, is_binary, sender, except_, reply_ms);
    IF asks IS NOT NULL THEN
        PERFORM culvert.ask(base, at, asks);
    END IF;
    IF cardinality(key) > 0 THEN
        INSERT INTO culvert.keys AS k (namespace_id, key, hash, "offset", at)
        SELECT e.ns, e.key, e.hash, base + e.pos, at
          FROM unnest(key_ns, key, key_hash, key_pos) AS e (ns, key, hash, pos)
        ON CONFLICT ON CONSTRAINT keys_pkey DO UPDATE
           SET hash = excluded.hash, "offset" = excluded."offset", at = excluded.at;
    END IF;
    head := setval('culvert.offsets', base + n);
    PERFORM pg_notify('culvert', head::text);
END
$$;
CREATE FUNCTION culvert.ask(base bigint, at timestamp with time zone, asks json) RETURNS void
    LANGUAGE sql
    AS $$
    INSERT INTO culvert.asks ("offset", namespace_id, sender, rooms, except_, until, expected, wanted)
    SELECT base + a.pos, a.ns, a.sender, a.rooms, a.except_, at + a.ms * interval '1 millisecond', a.expected,
           coalesce(a.count, cardinality(a.expected))
      FROM json_to_recordset(asks)
           AS a (pos integer, ns integer, sender text, rooms text[], except_ text[], ms integer, expected text[], count integer)
$$;
CREATE FUNCTION culvert.carry(seen xid8, base bigint, dedup interval, OUT moved integer, OUT stored integer) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
    v   culvert.staged[];
    new culvert.staged[];
    now timestamptz := clock_timestamp();
    bad text;
BEGIN
    WITH taken AS (
        DELETE FROM culvert.staged s
         WHERE (s.xid, s.id) IN (
               SELECT t.xid, t.id FROM culvert.staged t
                WHERE t.xid >= seen
                ORDER BY t.xid, t.id LIMIT 1000)
        RETURNING s.*)
    SELECT array_agg(t::culvert.staged ORDER BY t.xid, t.id) INTO v FROM taken t;
    moved := coalesce(cardinality(v), 0);
    stored := 0;
    IF moved = 0 THEN
        RETURN;
    END IF;
    PERFORM culvert.make_namespace(s.namespace) FROM (SELECT DISTINCT u.namespace FROM unnest(v) u) s;
    INSERT INTO culvert.rooms (namespace_id, name)
    SELECT DISTINCT n.id, r.name
      FROM unnest(v) s JOIN culvert.namespaces n ON n.name = s.namespace, unnest(s.rooms) r(name)
     WHERE NOT EXISTS (SELECT FROM culvert.rooms k WHERE k.namespace_id = n.id AND k.name = r.name)
    ON CONFLICT DO NOTHING;
    -- The first with a key counts; a later one with other content cannot be
    -- refused any more, its transaction is committed.
    SELECT array_agg(s.row ORDER BY (s.row).xid, (s.row).id) FILTER (WHERE s.nth = 1 AND s.hash IS NULL),
           min((s.row).key) FILTER (WHERE (s.row).hash <> coalesce(s.hash, s.first))
      INTO new, bad
      FROM (SELECT t::culvert.staged AS row, k.hash,
                   CASE WHEN t.key IS NULL THEN 1 ELSE row_number() OVER same END AS nth,
                   first_value(t.hash) OVER same AS first
              FROM unnest(v) t
              JOIN culvert.namespaces n ON n.name = t.namespace
              LEFT JOIN culvert.keys k
                ON k.namespace_id = n.id AND k.key = t.key AND k.at > now - coalesce(n.dedup, carry.dedup)
            WINDOW same AS (PARTITION BY t.namespace, t.key ORDER BY t.xid, t.id)) s;
    IF bad IS NOT NULL THEN
        RAISE WARNING 'culvert: an event emitted from SQL was dropped: its key "%" was used with another body', bad;
    END IF;
    INSERT INTO culvert.events ("offset", room_id, at, event, sender, except_, data)
    SELECT base + s.nth, r.id, now, s.event, s.sender, s.except_, s.data
      FROM unnest(new) WITH ORDINALITY
           s (xid, id, namespace, rooms, except_, event, data, sender, key, hash, nth)
      JOIN culvert.namespaces n ON n.name = s.namespace
      JOIN culvert.rooms r ON r.namespace_id = n.id AND r.name = ANY (s.rooms)
     ORDER BY 1, 2;
    INSERT INTO culvert.keys AS k (namespace_id, key, hash, "offset", at)
    SELECT n.id, s.key, s.hash, base + s.nth, now
      FROM unnest(new) WITH ORDINALITY
           s (xid, id, namespace, rooms, except_, event, data, sender, key, hash, nth)
      JOIN culvert.namespaces n ON n.name = s.namespace
     WHERE s.key IS NOT NULL
    ON CONFLICT ON CONSTRAINT keys_pkey DO UPDATE
       SET hash = excluded.hash, "offset" = excluded."offset", at = excluded.at;
    stored := coalesce(cardinality(new), 0);
END
$$;
CREATE FUNCTION culvert.check_name(field text, name text, limit_ integer) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    AS $$
BEGIN
    IF coalesce(name, '') = '' THEN
        RAISE EXCEPTION 'culvert.emit: % must not be empty', field USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(name) > limit_ THEN
        RAISE EXCEPTION 'culvert.emit: % is % bytes long, the limit is %', field, octet_length(name), limit_
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF name ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]' THEN
        RAISE EXCEPTION 'culvert.emit: % has a control character', field USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;
CREATE FUNCTION culvert.delete_namespace(name_ text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- Whoever holds the row now, expire above all, is waited for before the append lock.
    PERFORM FROM culvert.namespaces n WHERE n.name = name_ FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(1668639862, 1);
    UPDATE culvert.namespaces n
       SET name = NULL, deleted_at = clock_timestamp(), retention = NULL, dedup = NULL, presence = NULL
     WHERE n.name = name_;
    DELETE FROM culvert.staged s WHERE s.namespace = name_;
    UPDATE culvert.log SET generation = DEFAULT;
    PERFORM culvert.registry_changed();
    RETURN true;
END
$$;
CREATE FUNCTION culvert.dispatch(handler integer, rows_ integer, OUT busy boolean, OUT moved integer, OUT more boolean, OUT lost boolean, OUT gap_from bigint, OUT gap_to bigint) RETURNS record
    LANGUAGE plpgsql
    SET enable_bitmapscan TO 'off'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
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
CREATE FUNCTION culvert.emit(namespace text DEFAULT 'default'::text, room text DEFAULT NULL::text, event text DEFAULT NULL::text, data jsonb DEFAULT NULL::jsonb, key text DEFAULT NULL::text, rooms text[] DEFAULT NULL::text[], except_rooms text[] DEFAULT NULL::text[], sender text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_variable
DECLARE
    json   text := coalesce(data, 'null')::text;
    target text[];
    name   text;
    body   bytea;
    before bytea;
BEGIN
    IF namespace IS NULL OR namespace !~ '^[a-z0-9][a-z0-9-]{0,62}$' THEN
        RAISE EXCEPTION 'culvert.emit: namespace must be 1-63 of a-z, 0-9 and "-", not beginning with "-"'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF room IS NOT NULL AND rooms IS NOT NULL THEN
        RAISE EXCEPTION 'culvert.emit: give room or rooms, not both' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF cardinality(rooms) = 0 OR cardinality(rooms) > 100 OR cardinality(except_rooms) > 100 THEN
        RAISE EXCEPTION 'culvert.emit: rooms must be 1 to 100, except_rooms at most 100'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(DISTINCT r ORDER BY r) INTO target
      FROM unnest(coalesce(rooms, ARRAY[coalesce(room, '*')])) r;
    FOREACH name IN ARRAY target || coalesce(except_rooms, '{}') LOOP
        PERFORM culvert.check_name('room', name, 200);
    END LOOP;
    PERFORM culvert.check_name('event', event, 128);
    IF starts_with(event, 'culvert:') THEN
        RAISE EXCEPTION 'culvert.emit: event names beginning with "culvert:" are reserved'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF sender IS NOT NULL THEN
        PERFORM culvert.check_name('sender', sender, 128);
    END IF;
    IF octet_length(json) > 262144 THEN
        RAISE EXCEPTION 'culvert.emit: data is % bytes long, the limit is 262144', octet_length(json)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF length(json) - length(translate(json, '[{', '')) > 64
       AND jsonb_path_exists(data, 'strict $.**{64} ? (@.type() == "object" || @.type() == "array")') THEN
        RAISE EXCEPTION 'culvert.emit: data is nested deeper than 64' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF key IS NOT NULL THEN
        PERFORM culvert.check_name('key', key, 200);
        body := sha256(convert_to(jsonb_build_array(target, except_rooms, event, data, sender)::text, 'UTF8'));
        SELECT k.hash INTO before
          FROM culvert.log l, culvert.keys k JOIN culvert.namespaces n ON n.id = k.namespace_id
         WHERE n.name = namespace AND k.key = key AND k.at > clock_timestamp() - coalesce(n.dedup, l.dedup);
        IF before = body THEN
            RETURN false;
        ELSIF before IS NOT NULL THEN
            RAISE EXCEPTION 'culvert.emit: key "%" was used with another body', key USING ERRCODE = 'unique_violation';
        END IF;
    END IF;
    INSERT INTO culvert.staged (namespace, rooms, except_, event, data, sender, key, hash)
    VALUES (namespace, target, except_rooms, event, json, sender, key, body);
    IF coalesce(current_setting('culvert.notify', true), '') <> 'off'
       AND pg_try_advisory_xact_lock(1668639862, 16 + pg_backend_pid() % 16) THEN
        PERFORM pg_notify('culvert', 'staged');
    END IF;
    RETURN true;
END
$_$;
CREATE FUNCTION culvert.expected(ns integer, event text, rooms text[], except_ text[]) RETURNS text[]
    LANGUAGE sql STABLE
    AS $$
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
CREATE FUNCTION culvert.expire(keep interval) RETURNS integer
    LANGUAGE plpgsql
    AS $_$
DECLARE
    longest interval;
    due     record;
    raised  integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1668639862, 2) THEN
        RETURN 0;
    END IF;
    SELECT greatest(keep, max(n.retention)) INTO longest FROM culvert.namespaces n;
    FOR due IN
        SELECT s.n, s.last, array_agg(n.id) AS namespaces
          FROM culvert.namespaces n
         CROSS JOIN LATERAL (
               SELECT s.n, s.last
                 FROM culvert.slices s
                WHERE s.last > n.floor AND s.closed_at < clock_timestamp() - coalesce(n.retention, keep)
                ORDER BY s.n LIMIT 1) s
         WHERE n.name IS NOT NULL AND coalesce(n.retention, keep) < longest
         GROUP BY s.n, s.last
         ORDER BY s.n
    LOOP
        EXECUTE format(
            'UPDATE culvert.rooms r SET pruned = greatest(r.pruned, gone.last)
               FROM (SELECT e.room_id, max(e."offset") AS last
                       FROM culvert.%I e
                       JOIN culvert.rooms d ON d.id = e.room_id AND d.namespace_id = ANY ($1)
                      GROUP BY e.room_id) gone
              WHERE r.id = gone.room_id', 'events_' || due.n) USING due.namespaces;
        UPDATE culvert.namespaces n SET floor = due.last WHERE n.id = ANY (due.namespaces);
        raised := raised + cardinality(due.namespaces);
    END LOOP;
    IF raised > 0 THEN
        PERFORM culvert.registry_changed();
    END IF;
    RETURN raised;
END
$_$;
CREATE FUNCTION culvert.expire_leases() RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    ids bigint[];
BEGIN
    IF NOT pg_try_advisory_xact_lock(1668639862, 3) THEN
        RETURN 0;
    END IF;
    SELECT array_agg(DISTINCT l.client_id) INTO ids FROM culvert.leases l WHERE l.until <= clock_timestamp();
    IF ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM FROM culvert.clients c WHERE c.id = ANY (ids) ORDER BY c.namespace_id, c.name COLLATE "C" FOR UPDATE;
    DELETE FROM culvert.leases l WHERE l.client_id = ANY (ids) AND l.until <= clock_timestamp();
    PERFORM culvert.announce(ids);
    RETURN cardinality(ids);
END
$$;
CREATE FUNCTION culvert.fling(instance text, namespace text[], rooms text[], except_ text[], event text[], data text[], is_binary boolean[], sender text[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock(1668639862, 4);
    INSERT INTO culvert.volatile (id, at, instance, namespace, rooms, except_, event, data, is_binary, sender)
    SELECT nextval('culvert.volatile_ids'), clock_timestamp(), instance, v.namespace, NULLIF(v.rooms, '')::text[],
           NULLIF(v.except_, '')::text[], v.event, v.data, v.is_binary, NULLIF(v.sender, '')
      FROM unnest(namespace, rooms, except_, event, data, is_binary, sender)
           AS v (namespace, rooms, except_, event, data, is_binary, sender);
    DELETE FROM culvert.volatile v WHERE v.at < clock_timestamp() - interval '10 seconds';
    PERFORM pg_notify('culvert', 'volatile');
END
$$;
CREATE FUNCTION culvert.follow(after bigint, rows_ integer, bytes_ bigint) RETURNS TABLE(log text, floor bigint, "offset" bigint, at timestamp with time zone, is_binary boolean, event text, sender text, except_ text[], data text, place text, pruned bigint, reply_until timestamp with time zone)
    LANGUAGE plpgsql
    SET enable_bitmapscan TO 'off'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT l.id, l.floor, e."offset", e.at, e.is_binary, e.event, e.sender, e.except_, e.data,
           (SELECT n.name || '/' || r.name
              FROM culvert.rooms r
              JOIN culvert.namespaces n ON n.id = r.namespace_id
             WHERE r.id = e.room_id),
           0::bigint, e.reply_until
      FROM culvert.log l
      LEFT JOIN LATERAL (
           SELECT *, sum(octet_length(next.data)) OVER (
                  ORDER BY next."offset" RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
             FROM (SELECT *
                     FROM culvert.events
                    WHERE events."offset" > after
                    ORDER BY events."offset", events.room_id
                    LIMIT rows_) next) e ON e.before IS NULL OR e.before < bytes_
     ORDER BY e."offset", e.room_id;
END
$$;
CREATE FUNCTION culvert.handles(pattern text, event text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT event LIKE replace(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')
       AND (NOT starts_with(event, 'culvert:') OR starts_with(pattern, 'culvert:'))
$$;
CREATE FUNCTION culvert.inside(ns integer, rooms text[]) RETURNS TABLE(name text)
    LANGUAGE sql STABLE
    AS $$
    SELECT o.name
      FROM culvert.online(ns) o
     WHERE '*' = ANY (rooms)
    UNION
    SELECT o.name
      FROM culvert.online(ns) o
      JOIN unnest(rooms) r (name) ON starts_with(r.name, '@') AND o.name = substr(r.name, 2)
    UNION
    SELECT o.name
      FROM culvert.rooms r
      JOIN culvert.memberships m ON m.room_id = r.id AND m.until IS NULL
      JOIN culvert.online(ns) o ON o.id = m.client_id
     WHERE r.namespace_id = ns AND r.name = ANY (rooms)
$$;
CREATE FUNCTION culvert.is_online(client_id bigint) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT EXISTS (SELECT FROM culvert.leases l WHERE l.client_id = is_online.client_id AND l.until > clock_timestamp())
$$;
CREATE FUNCTION culvert.lease(instance text, ns integer[], name text[], lease interval[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_variable
DECLARE
    ids bigint[];
BEGIN
    -- The rows of the clients first: whoever changes a client's leases waits here.
    SELECT array_agg(locked.id) INTO ids
      FROM (SELECT c.id
              FROM culvert.clients c
              JOIN unnest(ns, name) AS w (ns, name) ON c.namespace_id = w.ns AND c.name = w.name
             ORDER BY c.namespace_id, c.name COLLATE "C" -- as acknowledgements do
               FOR UPDATE OF c) locked;
    INSERT INTO culvert.leases AS l (client_id, instance, until)
    SELECT c.id, instance, clock_timestamp() + w.lease
      FROM unnest(ns, name, lease) AS w (ns, name, lease)
      JOIN culvert.clients c ON c.namespace_id = w.ns AND c.name = w.name
     WHERE w.lease > '0'
    ON CONFLICT ON CONSTRAINT leases_pkey DO UPDATE SET until = excluded.until;
    DELETE FROM culvert.leases l
     USING unnest(ns, name, lease) AS w (ns, name, lease)
      JOIN culvert.clients c ON c.namespace_id = w.ns AND c.name = w.name
     WHERE l.client_id = c.id AND l.instance = instance AND w.lease = '0';
    UPDATE culvert.clients c SET seen_at = clock_timestamp() WHERE c.id = ANY (ids);
    PERFORM culvert.announce(ids);
END
$$;
CREATE TABLE culvert.log (
    one boolean DEFAULT true NOT NULL,
    id text NOT NULL,
    slice integer NOT NULL,
    floor bigint DEFAULT 0 NOT NULL,
    started timestamp with time zone NOT NULL,
    cluster bigint NOT NULL,
    database oid NOT NULL,
    timeline text NOT NULL,
    dedup interval DEFAULT '24:00:00'::interval NOT NULL,
    generation bigint DEFAULT ((random() * ('9007199254740991'::bigint)::double precision))::bigint NOT NULL,
    CONSTRAINT log_one_check CHECK (one)
);
CREATE FUNCTION culvert.lock_log() RETURNS culvert.log
    LANGUAGE plpgsql
    AS $$
DECLARE
    l culvert.log;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'culvert needs READ COMMITTED: an older snapshot would not see the append before it';
    END IF;
    -- A 201 means durable, also where the database's default is to commit lazily.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM pg_advisory_xact_lock(1668639862, 1);
    SELECT * INTO l FROM culvert.log;
    IF l.started <> pg_postmaster_start_time() THEN
        PERFORM culvert.recognise();
        SELECT * INTO l FROM culvert.log;
    END IF;
    RETURN l;
END
$$;
CREATE FUNCTION culvert.make_namespace(name_ text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT FROM culvert.namespaces n WHERE n.name = name_) THEN
        RETURN false;
    END IF;
    INSERT INTO culvert.namespaces (name, born, floor)
    SELECT name_, o.last_value, o.last_value FROM culvert.offsets o
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;
CREATE FUNCTION culvert.make_slice(n integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    name text := 'events_' || n;
    low  bigint := n::bigint * 1000000000;
BEGIN
    IF to_regclass('culvert.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE culvert.%I (LIKE culvert.events INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE culvert.events ATTACH PARTITION culvert.%I FOR VALUES FROM (%s) TO (%s)',
        name, low, low + 1000000000);
END
$$;
CREATE FUNCTION culvert.matches(patterns text[], name text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT EXISTS (
           SELECT FROM unnest(patterns) AS p (pattern)
            WHERE name LIKE replace(replace(replace(replace(p.pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'))
$$;
CREATE FUNCTION culvert.move(op text[], ns integer[], client text[], room text[], max_rooms integer[], INOUT generation bigint, OUT log text, OUT prev bigint, OUT head bigint, OUT at timestamp with time zone, OUT holds bigint[], OUT moved boolean[]) RETURNS record
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_variable
DECLARE
    l culvert.log;
    c bigint;
    r bigint;
    p bigint;
    told boolean := false;
BEGIN
    l := culvert.lock_log();
    log := l.id;
    at := clock_timestamp();
    SELECT o.last_value INTO prev FROM culvert.offsets o;
    head := prev;
    IF generation <> l.generation THEN
        generation := l.generation;
        RETURN;
    END IF;
    IF prev + cardinality(op) >= (l.slice + 1)::bigint * 1000000000 THEN
        head := culvert.next_slice();
    END IF;
    FOR i IN 1..cardinality(op) LOOP
        holds[i] := 0;
        moved[i] := false;
        SELECT k.id INTO c FROM culvert.clients k WHERE k.namespace_id = ns[i] AND k.name = client[i];
        IF op[i] = 'join' THEN
            IF c IS NULL THEN
                INSERT INTO culvert.clients (namespace_id, name, cursor) VALUES (ns[i], client[i], head) ON CONFLICT DO NOTHING;
                SELECT k.id INTO c FROM culvert.clients k WHERE k.namespace_id = ns[i] AND k.name = client[i];
            END IF;
            r := culvert.room_id(ns[i], room[i]);
        ELSIF c IS NULL THEN
            CONTINUE;
        ELSE
            SELECT k.id INTO r FROM culvert.rooms k WHERE k.namespace_id = ns[i] AND k.name = room[i];
        END IF;
        SELECT m.since INTO p FROM culvert.memberships m WHERE m.client_id = c AND m.room_id = r AND m.until IS NULL;
        -- Before the change, so that it finds the rooms of a client about to be forgotten.
        IF op[i] = 'forget' OR (op[i] = 'leave' AND p IS NOT NULL) THEN
            told := culvert.announce_move(c, r, 'culvert:leave') OR told;
        END IF;
        CASE op[i]
        WHEN 'join' THEN
            IF p IS NOT NULL THEN
                holds[i] := p;
                CONTINUE;
            END IF;
            IF max_rooms[i] > 0 AND max_rooms[i] <= (
               SELECT count(*) FROM culvert.memberships m WHERE m.client_id = c AND m.until IS NULL) THEN
                holds[i] := -1;
                CONTINUE;
            END IF;
            INSERT INTO culvert.memberships (client_id, room_id, since) VALUES (c, r, head + 1);
            told := culvert.announce_move(c, r, 'culvert:join') OR told;
        WHEN 'leave' THEN
            IF p IS NULL THEN
                SELECT coalesce(max(m.until), head) INTO p FROM culvert.memberships m WHERE m.client_id = c AND m.room_id = r;
                holds[i] := p;
                CONTINUE;
            END IF;
            UPDATE culvert.memberships m SET until = head + 1
             WHERE m.client_id = c AND m.room_id = r AND m.until IS NULL;
        WHEN 'forget' THEN
            DELETE FROM culvert.clients k WHERE k.id = c;
        END CASE;
        head := head + 1;
        holds[i] := head;
        moved[i] := true;
        INSERT INTO culvert.events ("offset", room_id, at, event, data)
        VALUES (head, culvert.room_id(ns[i], E'\x01members'), at, 'culvert:' || op[i],
                '{"client":' || to_json(client[i])::text || ',"room":' || to_json(room[i])::text || '}');
    END LOOP;
    IF head > prev AND true = ANY (moved) THEN
        PERFORM setval('culvert.offsets', head);
        PERFORM pg_notify('culvert', head::text);
    END IF;
    IF told THEN
        PERFORM pg_notify('culvert', 'staged');
    END IF;
END
$$;
CREATE FUNCTION culvert.next_slice(skip integer DEFAULT 0) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    after  integer;
    opened integer;
    base   bigint;
BEGIN
    SELECT l.slice + 1 INTO after FROM culvert.log l;
    opened := after + skip;
    base := opened::bigint * 1000000000 - 1;
    PERFORM culvert.make_slice(opened);
    UPDATE culvert.slices s
       SET closed_at = clock_timestamp(),
           last = (SELECT least(o.last_value, after::bigint * 1000000000 - 1) FROM culvert.offsets o)
     WHERE s.n = after - 1;
    INSERT INTO culvert.slices (n, closed_at, last)
    SELECT n, clock_timestamp(), n::bigint * 1000000000 - 1
      FROM generate_series(after, opened - 1) n
     WHERE to_regclass('culvert.events_' || n) IS NOT NULL;
    INSERT INTO culvert.slices (n) VALUES (opened);
    UPDATE culvert.log SET slice = opened;
    RETURN setval('culvert.offsets', base);
END
$$;
CREATE FUNCTION culvert.online(ns integer) RETURNS TABLE(id bigint, name text)
    LANGUAGE sql STABLE
    AS $$
    SELECT c.id, c.name
      FROM culvert.clients c
     WHERE c.namespace_id = ns
       AND EXISTS (SELECT FROM culvert.leases l WHERE l.client_id = c.id AND l.until > statement_timestamp())
$$;
CREATE FUNCTION culvert.open(dedup_ interval, OUT log text, OUT head bigint, OUT floor bigint) RETURNS record
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1668639862, 1);
    PERFORM culvert.recognise();
    UPDATE culvert.log l SET dedup = dedup_ WHERE l.dedup <> dedup_;
    SELECT l.id, l.floor, greatest(l.floor, (SELECT max(e."offset") FROM culvert.events e))
      INTO log, floor, head
      FROM culvert.log l;
END
$$;
CREATE FUNCTION culvert.page(namespace_id integer, rooms text[], since bigint[], until bigint[], after bigint, upto bigint, rows_ integer, bytes_ bigint) RETURNS TABLE(log text, floor bigint, "offset" bigint, at timestamp with time zone, is_binary boolean, event text, sender text, except_ text[], data text, place text, pruned bigint, reply_until timestamp with time zone)
    LANGUAGE plpgsql
    SET enable_bitmapscan TO 'off'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
#variable_conflict use_column
DECLARE
    ns integer := namespace_id;
    start bigint;
BEGIN
    -- Known before the plan is made, it leaves out partitions; what counts is the
    -- floor in the query's own snapshot.
    SELECT greatest(after, n.floor) INTO start FROM culvert.namespaces n WHERE n.id = ns;
    RETURN QUERY
    SELECT l.id, greatest(l.floor, n.floor), NULL::bigint, NULL::timestamptz, NULL::boolean, NULL, NULL, NULL::text[], NULL,
           n.name, p.pruned, NULL::timestamptz
      FROM culvert.log l
      JOIN culvert.namespaces n ON n.id = ns AND n.name IS NOT NULL
     CROSS JOIN LATERAL (
           SELECT coalesce(max(least(r.pruned, s.until)), 0) AS pruned
             FROM unnest(rooms, since, until) AS s (name, since, until)
             JOIN culvert.rooms r ON r.namespace_id = ns AND r.name = s.name
            WHERE r.pruned > greatest(after, s.since) AND s.until > after) p
     UNION ALL
    SELECT NULL, NULL, e."offset", e.at, e.is_binary, e.event, e.sender, e.except_, e.data, e.name, NULL, e.reply_until
      FROM (SELECT *, sum(octet_length(next.data)) OVER (
                   ORDER BY next."offset" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
              FROM (SELECT DISTINCT ON (e."offset") e.*, r.name
                      FROM culvert.namespaces n
                     CROSS JOIN unnest(rooms, since, until) AS s (name, since, until)
                      JOIN culvert.rooms r ON r.namespace_id = ns AND r.name = s.name
                     CROSS JOIN LATERAL (
                           SELECT *
                             FROM culvert.events
                            WHERE events.room_id = r.id
                              AND events."offset" > start AND events."offset" <= upto -- what partitions are opened for
                              AND events."offset" > greatest(s.since, n.floor) AND events."offset" <= s.until
                            ORDER BY events."offset"
                            LIMIT rows_) e
                     WHERE n.id = ns AND n.name IS NOT NULL
                     ORDER BY e."offset", r.name COLLATE "C"
                     LIMIT rows_) next) e
     WHERE e.before IS NULL OR e.before < bytes_;
END
$$;
CREATE FUNCTION culvert.prune(keep interval, keep_events bigint) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    old culvert.slices;
    rest bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1668639862, 2) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO old FROM culvert.slices s WHERE s.closed_at IS NOT NULL ORDER BY s.n LIMIT 1;
    IF old.n IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT greatest(keep, max(n.retention)) INTO keep FROM culvert.namespaces n;
    SELECT coalesce(sum(coalesce(s.last, o.last_value) - (s.n::bigint * 1000000000 - 1)), 0) INTO rest
      FROM culvert.slices s, culvert.offsets o
     WHERE s.n > old.n;
    IF NOT (old.closed_at < clock_timestamp() - keep OR keep_events > 0 AND rest >= keep_events) THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        'UPDATE culvert.rooms r SET pruned = greatest(r.pruned, gone.last)
           FROM (SELECT room_id, max("offset") AS last FROM culvert.%I GROUP BY room_id) gone
          WHERE r.id = gone.room_id', 'events_' || old.n);
    UPDATE culvert.log SET floor = greatest(floor, old.last);
    DELETE FROM culvert.slices s WHERE s.n = old.n;
    -- A stay that is over explains a gap to a client that has not come past it.
    DELETE FROM culvert.memberships m USING culvert.clients c
     WHERE c.id = m.client_id AND m.until <= least(old.last, c.cursor);
    PERFORM set_config('lock_timeout', '20ms', true);
    FOR try IN 1..40 LOOP
        BEGIN
            EXECUTE format('DROP TABLE culvert.%I', 'events_' || old.n);
            RETURN old.n;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.01 * random() + 0.005);
        END;
    END LOOP;
    RAISE EXCEPTION 'slice % is being read and could not be dropped', old.n
        USING ERRCODE = 'lock_not_available', HINT = 'It is tried again; a long query on culvert.events holds it.';
END
$$;
CREATE FUNCTION culvert.recognise() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    old culvert.log;
    new culvert.log;
BEGIN
    SELECT * INTO old FROM culvert.log;
    new := old;
    new.started := pg_postmaster_start_time();
    new.timeline := substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8);
    SELECT d.oid INTO new.database FROM pg_database d WHERE d.datname = current_database();
    BEGIN
        SELECT c.system_identifier INTO new.cluster FROM pg_control_system() c;
    EXCEPTION WHEN insufficient_privilege THEN
        new.cluster := coalesce(old.cluster, 0); -- then only the database tells a copy
    END;
    IF old.id IS NULL OR (new.cluster, new.database) IS DISTINCT FROM (old.cluster, old.database) THEN
        new.id := substr(md5(gen_random_uuid()::text), 1, 8);
    END IF;
    IF old.id IS NULL THEN
        PERFORM culvert.make_slice(0);
        INSERT INTO culvert.slices (n) VALUES (0);
        INSERT INTO culvert.log (id, slice, started, cluster, database, timeline)
        VALUES (new.id, 0, new.started, new.cluster, new.database, new.timeline);
        RETURN;
    END IF;
    UPDATE culvert.log SET id = new.id, started = new.started, cluster = new.cluster,
           database = new.database, timeline = new.timeline;
    IF (new.id, new.timeline) IS DISTINCT FROM (old.id, old.timeline) THEN
        UPDATE culvert.log SET generation = DEFAULT;
    END IF;
    IF new.id <> old.id THEN
        PERFORM culvert.next_slice();
    ELSIF new.timeline <> old.timeline THEN
        PERFORM culvert.next_slice(1000);
    END IF;
END
$$;
CREATE FUNCTION culvert.registry_changed() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE culvert.registry SET version = version + 1;
    PERFORM pg_notify('culvert', 'registry');
END
$$;
CREATE FUNCTION culvert.reply(ask bigint, party text, sender text, data text, is_binary boolean, event_data text) RETURNS text
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_variable
DECLARE
    a  culvert.asks;
    ns text;
BEGIN
    SELECT k.* INTO a FROM culvert.asks k WHERE k."offset" = ask FOR UPDATE;
    SELECT n.name INTO ns FROM culvert.namespaces n WHERE n.id = a.namespace_id AND n.name IS NOT NULL;
    IF NOT FOUND THEN
        RETURN 'unknown';
    END IF;
    IF EXISTS (SELECT FROM culvert.replies r WHERE r."offset" = ask AND r.party = party) THEN
        RETURN 'again';
    END IF;
    IF a.until <= clock_timestamp() OR a.expected IS NULL AND a.counted >= a.wanted THEN
        RETURN 'closed';
    END IF;
    INSERT INTO culvert.replies ("offset", party, is_binary, data) VALUES (ask, party, is_binary, data);
    UPDATE culvert.asks k SET counted = k.counted + 1
     WHERE k."offset" = ask AND (a.expected IS NULL OR party = ANY (a.expected));
    INSERT INTO culvert.staged (namespace, rooms, event, data, sender)
    VALUES (ns, ARRAY[coalesce('@' || a.sender, E'\x01replies')], 'culvert:reply', event_data, sender);
    RETURN 'stored';
END
$$;
CREATE FUNCTION culvert.roll(grain interval, max_events bigint) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    open culvert.slices;
    used bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(1668639862, 1);
    SELECT s.* INTO open FROM culvert.slices s JOIN culvert.log l ON l.slice = s.n;
    SELECT o.last_value - greatest(open.n::bigint * 1000000000 - 1, 0) INTO used FROM culvert.offsets o;
    IF used > 0 AND (open.opened_at <= clock_timestamp() - grain OR used >= max_events) THEN
        PERFORM culvert.next_slice();
        open.n := open.n + 1;
    END IF;
    PERFORM culvert.make_slice(open.n + 1);
    PERFORM culvert.make_slice(open.n + 2);
    RETURN open.n;
END
$$;
CREATE FUNCTION culvert.room_id(ns integer, name text) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_variable
DECLARE
    id bigint;
BEGIN
    SELECT r.id INTO id FROM culvert.rooms r WHERE r.namespace_id = ns AND r.name = name;
    IF id IS NULL THEN
        INSERT INTO culvert.rooms (namespace_id, name) VALUES (ns, name) ON CONFLICT DO NOTHING;
        SELECT r.id INTO id FROM culvert.rooms r WHERE r.namespace_id = ns AND r.name = name;
    END IF;
    RETURN id;
END
$$;
CREATE FUNCTION culvert.sweep_namespaces(limit_ integer) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    dead integer[];
    n    integer;
    more boolean := false;
BEGIN
    SELECT array_agg(s.id) INTO dead FROM culvert.namespaces s WHERE s.name IS NULL;
    IF dead IS NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(1668639862, 2); -- prune and expire update rooms, too
    DELETE FROM culvert.handlers h WHERE h.namespace_id = ANY (dead);
    DELETE FROM culvert.keys k
     WHERE (k.namespace_id, k.key) IN (
           SELECT d.namespace_id, d.key FROM culvert.keys d WHERE d.namespace_id = ANY (dead) LIMIT limit_);
    GET DIAGNOSTICS n = ROW_COUNT;
    more := more OR n = limit_;
    DELETE FROM culvert.clients c
     WHERE c.id IN (SELECT d.id FROM culvert.clients d WHERE d.namespace_id = ANY (dead) LIMIT limit_);
    GET DIAGNOSTICS n = ROW_COUNT;
    more := more OR n = limit_;
    IF more THEN -- rooms come last: memberships refer to them
        RETURN true;
    END IF;
    DELETE FROM culvert.rooms r
     WHERE r.id IN (SELECT d.id FROM culvert.rooms d WHERE d.namespace_id = ANY (dead) LIMIT limit_);
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n < limit_ THEN
        DELETE FROM culvert.namespaces s WHERE s.deleted_at < clock_timestamp() - interval '2 days';
    END IF;
    RETURN n = limit_;
END
$$;
CREATE TABLE culvert.api_keys (
    id text NOT NULL,
    hash bytea NOT NULL,
    label text NOT NULL,
    namespaces text[],
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    old_hash bytea,
    old_until timestamp with time zone,
    CONSTRAINT api_keys_check CHECK (((old_hash IS NULL) = (old_until IS NULL))),
    CONSTRAINT api_keys_id_check CHECK ((id ~ '^[a-z0-9]{1,32}$'::text))
);
CREATE TABLE culvert.asks (
    "offset" bigint NOT NULL,
    namespace_id integer NOT NULL,
    sender text,
    rooms text[] NOT NULL,
    except_ text[],
    until timestamp with time zone NOT NULL,
    expected text[],
    wanted integer NOT NULL,
    counted integer DEFAULT 0 NOT NULL
);
CREATE TABLE culvert.clients (
    id bigint NOT NULL,
    namespace_id integer NOT NULL,
    name text NOT NULL,
    cursor bigint NOT NULL,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    online boolean DEFAULT false NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05');
ALTER TABLE culvert.clients ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME culvert.clients_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE culvert.events (
    "offset" bigint NOT NULL,
    room_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    is_binary boolean DEFAULT false NOT NULL,
    event text NOT NULL,
    sender text,
    except_ text[],
    data text NOT NULL,
    reply_until timestamp with time zone
)
PARTITION BY RANGE ("offset");
ALTER TABLE ONLY culvert.events ALTER COLUMN data SET COMPRESSION lz4;
CREATE TABLE culvert.events_0 (
    "offset" bigint NOT NULL,
    room_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    is_binary boolean DEFAULT false NOT NULL,
    event text NOT NULL,
    sender text,
    except_ text[],
    data text NOT NULL,
    reply_until timestamp with time zone
);
ALTER TABLE ONLY culvert.events_0 ALTER COLUMN data SET COMPRESSION lz4;
CREATE TABLE culvert.events_1 (
    "offset" bigint NOT NULL,
    room_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    is_binary boolean DEFAULT false NOT NULL,
    event text NOT NULL,
    sender text,
    except_ text[],
    data text NOT NULL,
    reply_until timestamp with time zone
);
ALTER TABLE ONLY culvert.events_1 ALTER COLUMN data SET COMPRESSION lz4;
CREATE TABLE culvert.events_2 (
    "offset" bigint NOT NULL,
    room_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    is_binary boolean DEFAULT false NOT NULL,
    event text NOT NULL,
    sender text,
    except_ text[],
    data text NOT NULL,
    reply_until timestamp with time zone
);
ALTER TABLE ONLY culvert.events_2 ALTER COLUMN data SET COMPRESSION lz4;
CREATE TABLE culvert.handler_jobs (
    handler_id integer NOT NULL,
    "offset" bigint NOT NULL,
    room text NOT NULL,
    at timestamp with time zone NOT NULL,
    is_binary boolean NOT NULL,
    event text NOT NULL,
    sender text,
    except_ text[],
    data text NOT NULL,
    reply_until timestamp with time zone,
    due timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    claim bigint DEFAULT 0 NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    error text,
    parked_at timestamp with time zone
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000');
CREATE TABLE culvert.handlers (
    id integer NOT NULL,
    namespace_id integer NOT NULL,
    name text NOT NULL,
    pattern text NOT NULL,
    answers boolean NOT NULL,
    "position" bigint NOT NULL,
    live_until timestamp with time zone NOT NULL,
    gaps integer DEFAULT 0 NOT NULL
);
ALTER TABLE culvert.handlers ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME culvert.handlers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE culvert.keys (
    namespace_id integer NOT NULL,
    key text NOT NULL,
    hash bytea NOT NULL,
    "offset" bigint NOT NULL,
    at timestamp with time zone NOT NULL
);
CREATE TABLE culvert.leases (
    client_id bigint NOT NULL,
    instance text NOT NULL,
    until timestamp with time zone NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE culvert.memberships (
    client_id bigint NOT NULL,
    room_id bigint NOT NULL,
    since bigint NOT NULL,
    until bigint
);
CREATE TABLE culvert.migrations (
    id integer NOT NULL,
    version_id bigint NOT NULL,
    is_applied boolean NOT NULL,
    tstamp timestamp without time zone DEFAULT now() NOT NULL
);
ALTER TABLE culvert.migrations ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME culvert.migrations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE culvert.namespaces (
    id integer NOT NULL,
    name text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    deleted_at timestamp with time zone,
    born bigint DEFAULT 0 NOT NULL,
    floor bigint DEFAULT 0 NOT NULL,
    retention interval,
    dedup interval,
    public text[],
    presence text[],
    emit_rate double precision,
    client_rate double precision,
    max_connections_client integer,
    max_rooms_client integer,
    CONSTRAINT namespaces_check CHECK (((name IS NULL) = (deleted_at IS NOT NULL))),
    CONSTRAINT namespaces_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text))
);
ALTER TABLE culvert.namespaces ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME culvert.namespaces_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE SEQUENCE culvert.offsets
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;
CREATE TABLE culvert.registry (
    one boolean DEFAULT true NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    CONSTRAINT registry_one_check CHECK (one)
);
CREATE TABLE culvert.replies (
    "offset" bigint NOT NULL,
    party text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    is_binary boolean NOT NULL,
    data text NOT NULL
);
CREATE TABLE culvert.revocations (
    namespace_id integer NOT NULL,
    client text NOT NULL,
    at timestamp with time zone NOT NULL
);
CREATE TABLE culvert.rooms (
    id bigint NOT NULL,
    namespace_id integer NOT NULL,
    name text NOT NULL,
    pruned bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='80');
ALTER TABLE culvert.rooms ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME culvert.rooms_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE culvert.slices (
    n integer NOT NULL,
    opened_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    closed_at timestamp with time zone,
    last bigint,
    CONSTRAINT slices_check CHECK (((closed_at IS NULL) = (last IS NULL)))
);
CREATE TABLE culvert.staged (
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    id bigint NOT NULL,
    namespace text NOT NULL,
    rooms text[] NOT NULL,
    except_ text[],
    event text NOT NULL,
    data text NOT NULL,
    sender text,
    key text,
    hash bytea
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000');
ALTER TABLE culvert.staged ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME culvert.staged_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE UNLOGGED TABLE culvert.volatile (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    instance text NOT NULL,
    namespace text NOT NULL,
    rooms text[],
    except_ text[],
    event text NOT NULL,
    data text NOT NULL,
    is_binary boolean NOT NULL,
    sender text
);
CREATE SEQUENCE culvert.volatile_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER TABLE ONLY culvert.events ATTACH PARTITION culvert.events_0 FOR VALUES FROM ('0') TO ('1000000000');
ALTER TABLE ONLY culvert.events ATTACH PARTITION culvert.events_1 FOR VALUES FROM ('1000000000') TO ('2000000000');
ALTER TABLE ONLY culvert.events ATTACH PARTITION culvert.events_2 FOR VALUES FROM ('2000000000') TO ('3000000000');
INSERT INTO culvert.asks VALUES (5, 1, NULL, '{@alice}', '{}', '2026-11-26 23:51:24.814695+00', '{alice}', 1, 0);
INSERT INTO culvert.clients OVERRIDING SYSTEM VALUE VALUES (1, 1, 'alice', 0, '2026-11-26 22:51:39.527397+00', false);
INSERT INTO culvert.events_0 VALUES (1, 2, '2026-11-26 22:51:24.606914+00', false, 'culvert:join', NULL, NULL, '{"client":"alice","room":"lobby"}', NULL);
INSERT INTO culvert.events_0 VALUES (2, 1, '2026-11-26 22:51:24.667889+00', false, 'chat message', NULL, NULL, '{"n":1}', NULL);
INSERT INTO culvert.events_0 VALUES (3, 1, '2026-11-26 22:51:24.735394+00', false, 'chat message', NULL, NULL, '{"n":2}', NULL);
INSERT INTO culvert.events_0 VALUES (4, 1, '2026-11-26 22:51:24.762223+00', false, 'chat message', NULL, NULL, '{"n":3}', NULL);
INSERT INTO culvert.events_0 VALUES (5, 3, '2026-11-26 22:51:24.814695+00', false, 'q', NULL, NULL, 'null', '2026-11-26 23:51:24.814695+00');
INSERT INTO culvert.keys VALUES (1, 'k-1', '\xb27a274d6f69c8d6f3eacff7ab49c6cbea11c02b75547d197b3c68c8fcd56bee', 2, '2026-11-26 22:51:24.667889+00');
INSERT INTO culvert.keys VALUES (1, 'k-2', '\xa5971dae9a550accde29c1935d08b7e380e82184c50825aa18e53ff19a46adc6', 3, '2026-11-26 22:51:24.735394+00');
INSERT INTO culvert.keys VALUES (1, 'k-3', '\xbf78d51baf78a34ba8da042ad02bbe771395f8392102823a1c9177a54d64d62d', 4, '2026-11-26 22:51:24.762223+00');
INSERT INTO culvert.log VALUES (true, '1b99f648', 0, 0, '2026-11-26 22:51:23.718858+00', 7712616564700364535, 16384, '00000001', '24:00:00', 3434209960151102);
INSERT INTO culvert.memberships VALUES (1, 1, 1, NULL);
INSERT INTO culvert.migrations VALUES (1, 0, true, '2026-11-26 22:51:24.011901');
INSERT INTO culvert.migrations VALUES (2, 1, true, '2026-11-26 22:51:24.066154');
INSERT INTO culvert.migrations VALUES (3, 2, true, '2026-11-26 22:51:24.217815');
INSERT INTO culvert.migrations VALUES (4, 3, true, '2026-11-26 22:51:24.298429');
INSERT INTO culvert.migrations VALUES (5, 4, true, '2026-11-26 22:51:24.306016');
INSERT INTO culvert.migrations VALUES (6, 5, true, '2026-11-26 22:51:24.309987');
INSERT INTO culvert.migrations VALUES (7, 6, true, '2026-11-26 22:51:24.317796');
INSERT INTO culvert.migrations VALUES (8, 7, true, '2026-11-26 22:51:24.321281');
INSERT INTO culvert.migrations VALUES (9, 8, true, '2026-11-26 22:51:24.34458');
INSERT INTO culvert.migrations VALUES (10, 9, true, '2026-11-26 22:51:24.373853');
INSERT INTO culvert.migrations VALUES (11, 10, true, '2026-11-26 22:51:24.434174');
INSERT INTO culvert.migrations VALUES (12, 11, true, '2026-11-26 22:51:24.438103');
INSERT INTO culvert.namespaces OVERRIDING SYSTEM VALUE VALUES (1, 'default', '2026-11-26 22:51:24.093108+00', NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO culvert.registry VALUES (true, 1);
INSERT INTO culvert.rooms OVERRIDING SYSTEM VALUE VALUES (1, 1, 'lobby', 0);
INSERT INTO culvert.rooms OVERRIDING SYSTEM VALUE VALUES (2, 1, 'members', 0);
INSERT INTO culvert.rooms OVERRIDING SYSTEM VALUE VALUES (3, 1, '@alice', 0);
INSERT INTO culvert.slices VALUES (0, '2026-11-26 22:51:24.263395+00', NULL, NULL);
SELECT pg_catalog.setval('culvert.clients_id_seq', 1, true);
SELECT pg_catalog.setval('culvert.handlers_id_seq', 1, false);
SELECT pg_catalog.setval('culvert.migrations_id_seq', 12, true);
SELECT pg_catalog.setval('culvert.namespaces_id_seq', 1, true);
SELECT pg_catalog.setval('culvert.offsets', 5, true);
SELECT pg_catalog.setval('culvert.rooms_id_seq', 3, true);
SELECT pg_catalog.setval('culvert.staged_id_seq', 1, false);
SELECT pg_catalog.setval('culvert.volatile_ids', 1, false);
ALTER TABLE ONLY culvert.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY culvert.asks
    ADD CONSTRAINT asks_pkey PRIMARY KEY ("offset");
ALTER TABLE ONLY culvert.clients
    ADD CONSTRAINT clients_namespace_id_name_key UNIQUE (namespace_id, name);
ALTER TABLE ONLY culvert.clients
    ADD CONSTRAINT clients_pkey PRIMARY KEY (id);
ALTER TABLE ONLY culvert.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("offset", room_id);
ALTER TABLE ONLY culvert.events_0
    ADD CONSTRAINT events_0_pkey PRIMARY KEY ("offset", room_id);
ALTER TABLE ONLY culvert.events_1
    ADD CONSTRAINT events_1_pkey PRIMARY KEY ("offset", room_id);
ALTER TABLE ONLY culvert.events_2
    ADD CONSTRAINT events_2_pkey PRIMARY KEY ("offset", room_id);
ALTER TABLE ONLY culvert.handler_jobs
    ADD CONSTRAINT handler_jobs_pkey PRIMARY KEY (handler_id, "offset");
ALTER TABLE ONLY culvert.handlers
    ADD CONSTRAINT handlers_namespace_id_name_key UNIQUE (namespace_id, name);
ALTER TABLE ONLY culvert.handlers
    ADD CONSTRAINT handlers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY culvert.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (namespace_id, key);
ALTER TABLE ONLY culvert.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (client_id, instance);
ALTER TABLE ONLY culvert.log
    ADD CONSTRAINT log_pkey PRIMARY KEY (one);
ALTER TABLE ONLY culvert.memberships
    ADD CONSTRAINT memberships_pkey PRIMARY KEY (client_id, room_id, since);
ALTER TABLE ONLY culvert.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY culvert.namespaces
    ADD CONSTRAINT namespaces_pkey PRIMARY KEY (id);
ALTER TABLE ONLY culvert.registry
    ADD CONSTRAINT registry_pkey PRIMARY KEY (one);
ALTER TABLE ONLY culvert.replies
    ADD CONSTRAINT replies_pkey PRIMARY KEY ("offset", party);
ALTER TABLE ONLY culvert.revocations
    ADD CONSTRAINT revocations_pkey PRIMARY KEY (namespace_id, client);
ALTER TABLE ONLY culvert.rooms
    ADD CONSTRAINT rooms_namespace_id_name_key UNIQUE (namespace_id, name);
ALTER TABLE ONLY culvert.rooms
    ADD CONSTRAINT rooms_pkey PRIMARY KEY (id);
ALTER TABLE ONLY culvert.slices
    ADD CONSTRAINT slices_pkey PRIMARY KEY (n);
ALTER TABLE ONLY culvert.staged
    ADD CONSTRAINT staged_pkey PRIMARY KEY (xid, id);
ALTER TABLE ONLY culvert.volatile
    ADD CONSTRAINT volatile_pkey PRIMARY KEY (id);
CREATE INDEX asks_until ON culvert.asks USING btree (until);
CREATE INDEX events_room ON ONLY culvert.events USING btree (room_id, "offset");
CREATE INDEX events_0_room_id_offset_idx ON culvert.events_0 USING btree (room_id, "offset");
CREATE INDEX events_1_room_id_offset_idx ON culvert.events_1 USING btree (room_id, "offset");
CREATE INDEX events_2_room_id_offset_idx ON culvert.events_2 USING btree (room_id, "offset");
CREATE INDEX handler_jobs_due ON culvert.handler_jobs USING btree (handler_id, due) WHERE (parked_at IS NULL);
CREATE INDEX handler_jobs_parked ON culvert.handler_jobs USING btree (handler_id, "offset") WHERE (parked_at IS NOT NULL);
CREATE INDEX keys_at ON culvert.keys USING btree (namespace_id, at);
CREATE INDEX leases_until ON culvert.leases USING btree (until);
CREATE UNIQUE INDEX memberships_now ON culvert.memberships USING btree (room_id, client_id) WHERE (until IS NULL);
CREATE INDEX memberships_over ON culvert.memberships USING btree (until) WHERE (until IS NOT NULL);
CREATE UNIQUE INDEX namespaces_name ON culvert.namespaces USING btree (name) WHERE (name IS NOT NULL);
CREATE INDEX volatile_at ON culvert.volatile USING btree (at);
ALTER INDEX culvert.events_pkey ATTACH PARTITION culvert.events_0_pkey;
ALTER INDEX culvert.events_room ATTACH PARTITION culvert.events_0_room_id_offset_idx;
ALTER INDEX culvert.events_pkey ATTACH PARTITION culvert.events_1_pkey;
ALTER INDEX culvert.events_room ATTACH PARTITION culvert.events_1_room_id_offset_idx;
ALTER INDEX culvert.events_pkey ATTACH PARTITION culvert.events_2_pkey;
ALTER INDEX culvert.events_room ATTACH PARTITION culvert.events_2_room_id_offset_idx;
ALTER TABLE ONLY culvert.asks
    ADD CONSTRAINT asks_namespace_id_fkey FOREIGN KEY (namespace_id) REFERENCES culvert.namespaces(id) ON DELETE CASCADE;
ALTER TABLE ONLY culvert.clients
    ADD CONSTRAINT clients_namespace_id_fkey FOREIGN KEY (namespace_id) REFERENCES culvert.namespaces(id);
ALTER TABLE ONLY culvert.handler_jobs
    ADD CONSTRAINT handler_jobs_handler_id_fkey FOREIGN KEY (handler_id) REFERENCES culvert.handlers(id) ON DELETE CASCADE;
ALTER TABLE ONLY culvert.handlers
    ADD CONSTRAINT handlers_namespace_id_fkey FOREIGN KEY (namespace_id) REFERENCES culvert.namespaces(id) ON DELETE CASCADE;
ALTER TABLE ONLY culvert.keys
    ADD CONSTRAINT keys_namespace_id_fkey FOREIGN KEY (namespace_id) REFERENCES culvert.namespaces(id);
ALTER TABLE ONLY culvert.leases
    ADD CONSTRAINT leases_client_id_fkey FOREIGN KEY (client_id) REFERENCES culvert.clients(id) ON DELETE CASCADE;
ALTER TABLE ONLY culvert.memberships
    ADD CONSTRAINT memberships_client_id_fkey FOREIGN KEY (client_id) REFERENCES culvert.clients(id) ON DELETE CASCADE;
ALTER TABLE ONLY culvert.memberships
    ADD CONSTRAINT memberships_room_id_fkey FOREIGN KEY (room_id) REFERENCES culvert.rooms(id);
ALTER TABLE ONLY culvert.replies
    ADD CONSTRAINT replies_offset_fkey FOREIGN KEY ("offset") REFERENCES culvert.asks("offset") ON DELETE CASCADE;
ALTER TABLE ONLY culvert.revocations
    ADD CONSTRAINT revocations_namespace_id_fkey FOREIGN KEY (namespace_id) REFERENCES culvert.namespaces(id) ON DELETE CASCADE;
ALTER TABLE ONLY culvert.rooms
    ADD CONSTRAINT rooms_namespace_id_fkey FOREIGN KEY (namespace_id) REFERENCES culvert.namespaces(id);
