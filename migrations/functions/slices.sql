-- Slices of the log: how they are made, opened, closed and dropped.

-- make_slice adds the partition of slice n. ATTACH, unlike CREATE ... PARTITION
-- OF, does not wait for readers and writers of events.
CREATE OR REPLACE FUNCTION culvert.make_slice(n integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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

-- next_slice closes the open slice and opens the one after it. The caller holds the
-- append lock. It can be repeated after a rollback that left the counter moved.
CREATE OR REPLACE FUNCTION culvert.next_slice() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    opened integer;
    used   bigint;
BEGIN
    SELECT l.slice + 1 INTO opened FROM culvert.log l;
    SELECT least(o.last_value, opened::bigint * 1000000000 - 1) INTO used FROM culvert.offsets o;
    PERFORM culvert.open_slice(opened, used);
    RETURN setval('culvert.offsets', opened::bigint * 1000000000 - 1);
END
$$;

-- open_slice closes the open slice, whose last position is `used`, and opens slice n,
-- which need not be the next one. Partitions that were made in advance for slices between them,
-- and a slice that is closed without an event, become empty slices: their last position is
-- the one before their first offset, and the next prune drops them.
CREATE OR REPLACE FUNCTION culvert.open_slice(n integer, used bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    closed integer;
BEGIN
    SELECT l.slice INTO closed FROM culvert.log l;
    UPDATE culvert.log SET slice = n; -- locked before the tables, for which prune may be waiting
    PERFORM culvert.make_slice(n);
    UPDATE culvert.slices s
       SET closed_at = clock_timestamp(),
           last = CASE WHEN EXISTS (SELECT FROM culvert.events e
                                     WHERE e."offset" >= closed::bigint * 1000000000 AND e."offset" < (closed + 1)::bigint * 1000000000)
                       THEN used
                       ELSE closed::bigint * 1000000000 - 1
                  END
     WHERE s.n = closed;
    -- MATERIALIZED: only names of partitions end in a number, so the cast must not see other tables.
    INSERT INTO culvert.slices (n, closed_at, last)
    WITH ahead AS MATERIALIZED (
         SELECT substr(c.relname, 8)::integer AS n
           FROM pg_inherits i
           JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = 'culvert.events'::regclass)
    SELECT ahead.n, clock_timestamp(), ahead.n::bigint * 1000000000 - 1
      FROM ahead
     WHERE ahead.n > closed AND ahead.n < n;
    INSERT INTO culvert.slices (n) VALUES (n);
END
$$;

-- given_out returns how many offsets were given out after a position, without the holes
-- between slices and between runs.
CREATE OR REPLACE FUNCTION culvert.given_out(after bigint) RETURNS bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(sum(greatest(0,
                    least(coalesce(s.last, o.last_value), coalesce(r.last, o.last_value))
                  - greatest(s.n::bigint * 1000000000 - 1, r.first, after))), 0)::bigint
      FROM culvert.slices s, culvert.runs r, culvert.offsets o;
END;

-- rotate opens the next slice if the open one has events and is as old or as
-- full as allowed, and makes the two slices after it in advance. It returns the open slice.
CREATE OR REPLACE FUNCTION culvert.rotate(grain interval, max_events bigint) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    open culvert.slices;
    used bigint;
BEGIN
    PERFORM culvert.lock_log();
    PERFORM culvert.hasten(grain);
    SELECT s.* INTO open FROM culvert.slices s JOIN culvert.log l ON l.slice = s.n;
    used := culvert.given_out(open.n::bigint * 1000000000 - 1);
    IF used > 0 AND (open.opened_at <= clock_timestamp() - grain OR used >= max_events) THEN
        PERFORM culvert.next_slice();
        open.n := open.n + 1;
    END IF;
    PERFORM culvert.make_slice(open.n + 1);
    PERFORM culvert.make_slice(open.n + 2);
    RETURN open.n;
END
$$;

-- prune drops the oldest slice if it was closed longer ago than keep and than the longest
-- retention of any namespace, or if the slices after it have at least keep_events
-- events (0: no limit). It drops one slice a call, so that a clock that jumps ahead
-- costs little before somebody notices. It returns the dropped slice, or NULL. It also drops
-- up to 10 empty slices.
--
-- DROP needs the table exclusively for a moment, and statements that come while it waits
-- wait behind it. So it waits at most 20 ms, lets the others pass, and tries
-- again. Meanwhile it holds rows of rooms, for which nobody waits, and the row of the log, for
-- which only transactions wait that have not locked the table of a slice yet.
CREATE OR REPLACE FUNCTION culvert.prune(keep interval, keep_events bigint) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old   culvert.slices;
    empty integer[];
    due   boolean;
BEGIN
    PERFORM FROM culvert.turns t WHERE t.n = 2 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(array_agg(e.n), '{}') INTO empty
      FROM (SELECT s.n FROM culvert.slices s WHERE s.last < s.n::bigint * 1000000000 ORDER BY s.n LIMIT 10) e;
    SELECT * INTO old FROM culvert.slices s
     WHERE s.closed_at IS NOT NULL AND s.last >= s.n::bigint * 1000000000
     ORDER BY s.n LIMIT 1;
    SELECT greatest(keep, max(n.retention)) INTO keep FROM culvert.namespaces n;
    due := coalesce(old.closed_at < clock_timestamp() - keep OR keep_events > 0 AND culvert.given_out(old.last) >= keep_events, false);
    IF NOT due THEN
        old.n := NULL;
    END IF;
    IF NOT due AND empty = '{}' THEN
        RETURN NULL;
    END IF;

    IF due THEN
        EXECUTE format(
            'WITH touched AS (
                  UPDATE culvert.rooms r SET pruned = greatest(r.pruned, gone.last)
                    FROM (SELECT room_id, max("offset") AS last FROM culvert.%I GROUP BY room_id) gone
                   WHERE r.id = gone.room_id
                  RETURNING r.namespace_id, r.pruned)
             UPDATE culvert.namespaces n SET pruned = greatest(n.pruned, t.pruned)
               FROM (SELECT namespace_id, max(pruned) AS pruned FROM touched GROUP BY namespace_id) t
              WHERE n.id = t.namespace_id', 'events_' || old.n);
        UPDATE culvert.log SET floor = greatest(floor, old.last);
        DELETE FROM culvert.runs r WHERE r.last < old.last;
        -- An ended membership interval is kept until its client has passed it, so that the client gets the gap.
        DELETE FROM culvert.memberships m USING culvert.clients c
         WHERE c.id = m.client_id AND m.until <= least(old.last, c.cursor);
    END IF;
    DELETE FROM culvert.slices s WHERE s.n = old.n OR s.n = ANY (empty);

    PERFORM set_config('lock_timeout', '20ms', true);
    FOR try IN 1..40 LOOP
        BEGIN
            EXECUTE 'DROP TABLE ' || (
                SELECT string_agg(format('culvert.%I', 'events_' || n), ', ')
                  FROM unnest(empty || old.n) n
                 WHERE n IS NOT NULL);
            RETURN old.n;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.01 * random() + 0.005);
        END;
    END LOOP;
    RAISE EXCEPTION 'slice % is being read and could not be dropped', coalesce(old.n, empty[1])
        USING ERRCODE = 'lock_not_available', HINT = 'Culvert tries again; a long query on culvert.events holds the slice.';
END
$$;

-- count_slice stores in each room the offset of its newest event in the oldest closed
-- slice that was not counted yet, so that a search for the newest event need not look into that
-- slice. It counts one slice a call and returns it, or NULL if there is none.
CREATE OR REPLACE FUNCTION culvert.count_slice() RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    slice integer;
BEGIN
    PERFORM FROM culvert.turns t WHERE t.n = 2 FOR UPDATE SKIP LOCKED; -- prune and expire update rooms, too
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT s.n INTO slice FROM culvert.slices s WHERE s.closed_at IS NOT NULL AND NOT s.counted ORDER BY s.n LIMIT 1;
    IF slice IS NOT NULL THEN
        EXECUTE format(
            'UPDATE culvert.rooms r SET newest = here.newest
               FROM (SELECT room_id, max("offset") AS newest FROM culvert.%I GROUP BY room_id) here
              WHERE r.id = here.room_id AND r.newest < here.newest', 'events_' || slice);
        UPDATE culvert.slices s SET counted = true WHERE s.n = slice;
    END IF;
    RETURN slice;
END
$$;
