-- Slices of the log: made, opened, closed and dropped.

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

-- next_slice closes the open slice and opens the one after it, or the one after
-- skip others; partitions made ahead for these become empty slices, for prune to
-- drop. The caller holds the append lock. It can be repeated after a rollback
-- that left the counter moved.
CREATE OR REPLACE FUNCTION culvert.next_slice(skip integer DEFAULT 0) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    after  integer;
    opened integer;
    base   bigint;
BEGIN
    SELECT l.slice + 1 INTO after FROM culvert.log l;
    opened := after + skip;
    base := opened::bigint * 1000000000 - 1;
    UPDATE culvert.log SET slice = opened; -- before the tables, which prune may be waiting for
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
    RETURN setval('culvert.offsets', base);
END
$$;

-- roll opens the next slice once the open one has events and is as old or as
-- full as allowed, and makes the two after it ahead of time. It returns the open slice.
CREATE OR REPLACE FUNCTION culvert.roll(grain interval, max_events bigint) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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

-- prune drops the oldest slice if it was closed longer than keep ago, and longer
-- than any namespace keeps its events, or if the slices after it hold keep_events
-- (0: any number) without it; one slice a call, so that a clock that jumps ahead
-- costs little before somebody notices. It returns the dropped slice, or NULL.
--
-- DROP needs the table for itself for a moment, and whoever comes while it waits
-- waits behind it: so it waits 20 ms at the most, lets the others pass, and tries
-- again. Of the rows it holds meanwhile nobody waits for the rooms, and for the log
-- only those who have no slice's table yet.
CREATE OR REPLACE FUNCTION culvert.prune(keep interval, keep_events bigint) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
        'WITH touched AS (
              UPDATE culvert.rooms r SET pruned = greatest(r.pruned, gone.last)
                FROM (SELECT room_id, max("offset") AS last FROM culvert.%I GROUP BY room_id) gone
               WHERE r.id = gone.room_id
              RETURNING r.namespace_id, r.pruned)
         UPDATE culvert.namespaces n SET pruned = greatest(n.pruned, t.pruned)
           FROM (SELECT namespace_id, max(pruned) AS pruned FROM touched GROUP BY namespace_id) t
          WHERE n.id = t.namespace_id', 'events_' || old.n);
    UPDATE culvert.log SET floor = greatest(floor, old.last);
    DELETE FROM culvert.slices s WHERE s.n = old.n;

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

-- count_slice notes in each room the offset of its newest event in the oldest closed
-- slice that was not counted yet, so that whoever asks for it need not look into that
-- slice. One slice a call; it returns the slice, or NULL when there is none.
CREATE OR REPLACE FUNCTION culvert.count_slice() RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    slice integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1668639862, 2) THEN -- prune and expire update rooms, too
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
