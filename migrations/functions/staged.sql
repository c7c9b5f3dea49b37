-- How staged events are moved into the log. culvert.append calls these functions.

-- weight returns the cost of an event in Postgres, in bytes: its data and except_ once, and for each
-- room the number of bytes whose storing takes as long as a row.
CREATE OR REPLACE FUNCTION culvert.weight(rooms text[], except_ text[], data integer) RETURNS bigint
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT data + 1024 * cardinality(rooms)::bigint + 256 * coalesce(cardinality(except_), 0);
END;

-- store_staged stores events that were removed from culvert.staged in the log after offset base, in
-- their order, and returns how many offsets they took.
CREATE OR REPLACE FUNCTION culvert.store_staged(v culvert.staged[], base bigint, dedup interval) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$ -- see culvert.known
DECLARE
    new culvert.staged[];
    now timestamptz := clock_timestamp();
    bad text;
BEGIN
    PERFORM culvert.make_namespace(s.namespace)
       FROM (SELECT DISTINCT u.namespace COLLATE "C" AS namespace FROM unnest(v) u ORDER BY 1) s;
    INSERT INTO culvert.rooms (namespace_id, name)
    SELECT DISTINCT n.id, r.name COLLATE "C"
      FROM unnest(v) s
      JOIN culvert.namespaces n ON n.name = s.namespace
     CROSS JOIN LATERAL unnest(s.rooms) r (name)
      LEFT JOIN LATERAL ( -- has LIMIT, see culvert.known: an anti join may read all rooms of the namespace
           SELECT true AS there FROM culvert.rooms k WHERE k.namespace_id = n.id AND k.name = r.name LIMIT 1) t ON true
     WHERE t.there IS NULL
     ORDER BY 1, 2
    ON CONFLICT DO NOTHING;

    -- The first event with a key counts. A later one with other content cannot be
    -- refused any more, because its transaction has committed: it is dropped with a warning.
    SELECT array_agg(s.row ORDER BY (s.row).xid, (s.row).id) FILTER (WHERE s.nth = 1 AND NOT s.known),
           min((s.row).key) FILTER (WHERE (s.row).hash <> CASE WHEN s.known THEN s.hash ELSE s.first END)
      INTO new, bad
      FROM (SELECT t::culvert.staged AS row, k.hash, k.key IS NOT NULL AS known,
                   CASE WHEN t.key IS NULL THEN 1 ELSE row_number() OVER same END AS nth,
                   first_value(t.hash) OVER same AS first
              FROM unnest(v) t
              JOIN culvert.namespaces n ON n.name = t.namespace
              LEFT JOIN LATERAL (
                   SELECT u.key, u.hash, u.at
                     FROM culvert.keys u
                    WHERE u.key = t.key AND u.owner = '' AND u.namespace_id + 0 = n.id
                    LIMIT 1) k
                ON k.at > now - coalesce(n.dedup, store_staged.dedup)
            WINDOW same AS (PARTITION BY t.namespace, t.key ORDER BY t.xid, t.id)) s;
    IF bad IS NOT NULL THEN
        RAISE WARNING 'culvert: an event emitted from SQL was dropped: its key "%" was used with another body', bad;
    END IF;

    -- Written without a join of rooms with data: a sort for it would copy the data for each room.
    INSERT INTO culvert.events ("offset", room_id, at, event, sender, except_, data, elsewhere)
    SELECT base + s.nth, r.id, now, s.event, s.sender,
           CASE WHEN w.whole OR r.nth = 1 THEN s.except_ WHEN s.except_ <> '{}' THEN '{}' END,
           CASE WHEN w.whole OR r.nth = 1 THEN s.data END,
           CASE WHEN w.whole OR r.nth = 1 THEN NULL ELSE octet_length(s.data) END
      FROM unnest(new) WITH ORDINALITY
           s (xid, id, namespace, rooms, except_, event, data, sender, key, hash, nth)
      JOIN culvert.namespaces n ON n.name = s.namespace
     CROSS JOIN LATERAL (
           SELECT octet_length(s.data) + coalesce(octet_length(s.except_::text), 0) <= 256 AS whole,
                  ARRAY(SELECT DISTINCT k.id
                          FROM unnest(s.rooms) u (name)
                         CROSS JOIN LATERAL ( -- one look-up a name: with ANY, Postgres may read all rooms of the namespace for each event
                               SELECT t.id FROM culvert.rooms t WHERE t.namespace_id = n.id AND t.name = u.name LIMIT 1) k
                         ORDER BY 1) AS ids
            OFFSET 0) w -- once for an event
     CROSS JOIN LATERAL unnest(w.ids) WITH ORDINALITY r (id, nth);
    INSERT INTO culvert.keys AS k (namespace_id, key, hash, "offset", at)
    SELECT n.id, s.key, s.hash, base + s.nth, now
      FROM unnest(new) WITH ORDINALITY
           s (xid, id, namespace, rooms, except_, event, data, sender, key, hash, nth)
      JOIN culvert.namespaces n ON n.name = s.namespace
     WHERE s.key IS NOT NULL
     ORDER BY n.id, s.key COLLATE "C"
    ON CONFLICT ON CONSTRAINT keys_pkey DO UPDATE
       SET hash = excluded.hash, "offset" = excluded."offset", at = excluded.at;
    RETURN coalesce(cardinality(new), 0);
END
$$;

-- ended_since returns the transactions that were open in the snapshot seen and have ended since. The rows of open
-- transactions cannot be moved, and looking at them is slow: for each row of a transaction with many savepoints
-- Postgres looks up which transaction the savepoint belongs to. It is STABLE, and statements that move rows call it
-- themselves, because it must look at the snapshot of that statement: else a transaction that ends in between would be
-- overtaken by one that began after its end.
CREATE OR REPLACE FUNCTION culvert.ended_since(seen pg_snapshot) RETURNS xid8[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT x FROM pg_snapshot_xip(seen) x WHERE pg_visible_in_snapshot(x, pg_current_snapshot()));
END
$$;

-- is_staged tells whether events are staged by transactions that are not visible in seen, or by
-- part after the id last. Each subquery is a scan of the primary key that begins after the rows that were
-- moved. ORDER BY keeps Postgres on that index: if its statistics say that the table is empty, another index seems as good.
CREATE OR REPLACE FUNCTION culvert.is_staged(seen pg_snapshot, part xid8, last bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$ -- see culvert.known
DECLARE
    top xid8 := pg_snapshot_xmax(seen);
    late xid8[] := array_remove(culvert.ended_since(seen), part);
BEGIN
    RETURN coalesce((SELECT true FROM culvert.staged s WHERE s.xid = part AND s.id > last ORDER BY s.id LIMIT 1),
        (SELECT true
           FROM unnest(late) x
          CROSS JOIN LATERAL (SELECT s.id FROM culvert.staged s WHERE s.xid = x ORDER BY s.id LIMIT 1) s
          LIMIT 1),
        (SELECT true FROM culvert.staged s WHERE s.xid >= top AND s.xid < part ORDER BY s.xid, s.id LIMIT 1),
        (SELECT true FROM culvert.staged s WHERE s.xid >= top AND s.xid > part ORDER BY s.xid, s.id LIMIT 1),
        false);
END
$$;

-- is_staged_before tells the same for the events of one namespace, of transactions below until. It compares
-- whole rows (namespace, xid, id), for which only the index by namespace can be used.
CREATE OR REPLACE FUNCTION culvert.is_staged_before(seen pg_snapshot, part xid8, last bigint, space text, until xid8) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    top xid8 := pg_snapshot_xmax(seen);
    late xid8[] := array_remove(culvert.ended_since(seen), part);
    most CONSTANT bigint := 9223372036854775807; -- as an id
BEGIN
    RETURN coalesce((SELECT part < until FROM culvert.staged s
                      WHERE (s.namespace, s.xid, s.id) > (space, part, last) AND (s.namespace, s.xid, s.id) <= (space, part, most)
                      LIMIT 1), false)
        OR EXISTS (
           SELECT FROM unnest(late) x
            CROSS JOIN LATERAL (
                  SELECT FROM culvert.staged s
                   WHERE (s.namespace, s.xid, s.id) > (space, x, 0) AND (s.namespace, s.xid, s.id) <= (space, x, most)
                   LIMIT 1) s
            WHERE x < until)
        OR EXISTS (
           SELECT FROM culvert.staged s
            WHERE (s.namespace, s.xid, s.id) > (space, top, 0) AND (s.namespace, s.xid, s.id) < (space, least(part, until), 0))
        OR EXISTS (
           SELECT FROM culvert.staged s
            WHERE (s.namespace, s.xid, s.id) > (space, greatest(top, part), CASE WHEN part >= top THEN most ELSE 0 END)
              AND (s.namespace, s.xid, s.id) < (space, until, 0));
END
$$;

-- seen_up_to returns the snapshot in which those transactions are visible that are visible in seen, or that
-- are below upto and visible in now. upto may be NULL.
CREATE OR REPLACE FUNCTION culvert.seen_up_to(seen pg_snapshot, now pg_snapshot, upto xid8) RETURNS pg_snapshot
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    top xid8 := greatest(pg_snapshot_xmax(seen), least(upto, pg_snapshot_xmax(now)));
    open xid8[];
BEGIN
    IF upto IS NULL THEN
        RETURN seen;
    END IF;
    open := ARRAY(SELECT x
                    FROM (SELECT pg_snapshot_xip(seen) UNION SELECT pg_snapshot_xip(now)) s (x)
                   WHERE x < top AND NOT pg_visible_in_snapshot(x, seen)
                     AND (x >= upto OR NOT pg_visible_in_snapshot(x, now))
                   ORDER BY x);
    RETURN concat_ws(':', coalesce(open[1], top), top, array_to_string(open, ','))::pg_snapshot;
END
$$;

-- first_staged returns the staged event that is moved next: see culvert.move_staged.
CREATE OR REPLACE FUNCTION culvert.first_staged(seen pg_snapshot, carrying xid8, OUT xid xid8, OUT id bigint) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.xid, t.id
      FROM culvert.staged t
     WHERE t.xid = carrying OR t.xid >= pg_snapshot_xmin(seen) AND NOT pg_visible_in_snapshot(t.xid, seen)
     ORDER BY t.xid IS DISTINCT FROM carrying, t.xid, t.id
     LIMIT 1
$$;

-- move_staged moves staged events that have become visible into the log, after offset base,
-- in the order of their transactions: up to rows_ events, and about bytes_ bytes as
-- culvert.weight counts them, but at least one event. The rest of a partly moved
-- transaction (carrying) comes before any other, so that its events are not separated. move_staged
-- returns how many events it moved, how many offsets they took (an event whose key was used before takes
-- none), and whether there may be more. upto means that no visible event of a lower transaction is left. part and
-- last mean that the events of the transaction part up to the id last are moved, before the call and after it.
-- Only move_staged_all calls it.
CREATE OR REPLACE FUNCTION culvert.move_staged(seen pg_snapshot, INOUT part xid8, INOUT last bigint, base bigint, dedup interval, carrying xid8,
                              rows_ integer, bytes_ bigint,
                              OUT moved integer, OUT stored integer, OUT more boolean, OUT upto xid8)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_tidscan = on SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off AS $$ -- see culvert.known
DECLARE
    v   culvert.staged[];
    low  xid8 := pg_snapshot_xmax(seen);
    rest boolean; -- events of carrying are left
    size bigint;
    left_ xid8; -- a transaction of which some events are left
BEGIN
    SELECT true INTO rest FROM culvert.staged s
     WHERE s.xid = carrying AND s.id > CASE carrying WHEN part THEN last ELSE 0 END ORDER BY s.id LIMIT 1; -- see is_staged
    IF rest THEN
        low := '18446744073709551615';
    END IF;
    -- Rows are found by ctid, because there is only one plan for that. If the statistics of staged were taken
    -- while it was empty, a join would be planned for one row and compare each row with each.
    WITH taken AS (
        DELETE FROM culvert.staged s
         WHERE s.ctid = ANY (ARRAY(
               SELECT c.ctid
                 FROM (SELECT t.ctid, sum(culvert.weight(t.rooms, t.except_, octet_length(t.data))) OVER (
                              ORDER BY t.xid, t.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
                         FROM (SELECT w.* -- each part is a scan along the primary key
                                 FROM unnest(CASE WHEN rest THEN ARRAY[carrying] ELSE culvert.ended_since(seen) END) x
                                CROSS JOIN LATERAL (
                                      SELECT u.ctid, u.* FROM culvert.staged u
                                       WHERE u.xid = x AND u.id > CASE x WHEN part THEN last ELSE 0 END
                                       ORDER BY u.id LIMIT rows_) w
                                UNION ALL
                               (SELECT u.ctid, u.* FROM culvert.staged u
                                 WHERE u.xid >= low AND u.xid < part
                                 ORDER BY u.xid, u.id LIMIT rows_)
                                UNION ALL
                               (SELECT u.ctid, u.* FROM culvert.staged u
                                 WHERE u.xid >= low AND u.xid = part AND u.id > last
                                 ORDER BY u.id LIMIT rows_)
                                UNION ALL
                               (SELECT u.ctid, u.* FROM culvert.staged u
                                 WHERE u.xid >= low AND u.xid > part
                                 ORDER BY u.xid, u.id LIMIT rows_)
                                ORDER BY xid, id LIMIT rows_) t) c
                WHERE c.before IS NULL OR c.before < bytes_))
        RETURNING s.*)
    SELECT array_agg(t::culvert.staged ORDER BY t.xid, t.id), sum(culvert.weight(t.rooms, t.except_, octet_length(t.data)))
      INTO v, size FROM taken t;
    moved := coalesce(cardinality(v), 0);
    stored := 0;
    more := moved > 0 AND (moved >= rows_ OR size >= bytes_);
    IF moved > 0 THEN
        part := (v[moved]).xid;
        last := (v[moved]).id;
    END IF;
    IF more THEN
        upto := part;
        SELECT s.xid INTO left_ FROM culvert.staged s WHERE s.xid = part AND s.id > last ORDER BY s.id LIMIT 1;
    END IF;
    IF rest THEN
        more := true; -- events of other transactions
        upto := NULL;
    END IF;
    IF left_ IS DISTINCT FROM carrying THEN
        UPDATE culvert.log l SET carrying = left_;
    END IF;
    IF moved = 0 THEN
        RETURN;
    END IF;

    stored := culvert.store_staged(v, base, dedup);
END
$$;

-- move_staged_waiting moves staged events of namespaces for which a batch waits, before earlier events of other
-- namespaces, so that a caller with few events from SQL does not wait behind one with many. In each namespace it
-- takes whole transactions that fit, in their order; namespaces with few staged events come first. It takes none from
-- a namespace with events left of the transaction carrying, because these must be moved first.
CREATE OR REPLACE FUNCTION culvert.move_staged_waiting(seen pg_snapshot, part xid8, last bigint, spaces text[], base bigint, dedup interval, rows_ integer, bytes_ bigint,
                                      OUT moved integer, OUT stored integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_tidscan = on SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$ -- see culvert.known
DECLARE
    v culvert.staged[];
    carrying xid8 := (SELECT l.carrying FROM culvert.log l);
    most CONSTANT bigint := 9223372036854775807; -- as an id
    top xid8 := pg_snapshot_xmax(seen);
BEGIN
    WITH taken AS (
        DELETE FROM culvert.staged s
         WHERE s.ctid = ANY (ARRAY(
               SELECT t.ctid
                 FROM (SELECT g.ctid, -- RANGE counts whole groups: one namespace and one transaction
                              count(*) OVER fair AS rows, sum(g.weight) OVER fair AS bytes
                         FROM (SELECT u.ctid, w.space, u.weight,
                                      count(*) OVER (PARTITION BY w.space ORDER BY u.xid RANGE UNBOUNDED PRECEDING) AS rows
                                 FROM unnest(spaces) w (space)
                                CROSS JOIN LATERAL (
                                      SELECT k.ctid, k.xid, culvert.weight(k.rooms, k.except_, octet_length(k.data)) AS weight
                                        FROM ((SELECT s.* -- as in is_staged_before
                                                 FROM unnest(array_remove(culvert.ended_since(seen), part)) x
                                                CROSS JOIN LATERAL (
                                                      SELECT s.ctid, s.* FROM culvert.staged s
                                                       WHERE (s.namespace, s.xid, s.id) > (w.space, x, 0)
                                                         AND (s.namespace, s.xid, s.id) <= (w.space, x, most)
                                                       ORDER BY s.namespace, s.xid, s.id LIMIT rows_ + 1) s)
                                               UNION ALL
                                              (SELECT s.ctid, s.* FROM culvert.staged s
                                                WHERE (s.namespace, s.xid, s.id) > (w.space, top, 0)
                                                  AND (s.namespace, s.xid, s.id) < (w.space, part, 0)
                                                ORDER BY s.namespace, s.xid, s.id LIMIT rows_ + 1)
                                               UNION ALL
                                              (SELECT s.ctid, s.* FROM culvert.staged s
                                                WHERE (s.namespace, s.xid, s.id) > (w.space, greatest(top, part), CASE WHEN part >= top THEN most ELSE 0 END)
                                                  AND (s.namespace, s.xid, s.id) <= (w.space, '18446744073709551615', most)
                                                ORDER BY s.namespace, s.xid, s.id LIMIT rows_ + 1)) k
                                       ORDER BY k.xid
                                       LIMIT rows_ + 1) u
                                WHERE NOT EXISTS (SELECT FROM culvert.staged k
                                                   WHERE (k.namespace, k.xid, k.id) > (w.space, carrying, CASE carrying WHEN part THEN last ELSE 0 END)
                                                     AND (k.namespace, k.xid, k.id) <= (w.space, carrying, most))) g
                       WINDOW fair AS (ORDER BY g.rows, g.space RANGE UNBOUNDED PRECEDING)) t
                WHERE t.rows <= rows_ AND t.bytes <= bytes_))
        RETURNING s.*)
    SELECT array_agg(t::culvert.staged ORDER BY t.xid, t.id) INTO v FROM taken t;
    moved := coalesce(cardinality(v), 0);
    stored := CASE WHEN moved > 0 THEN culvert.store_staged(v, base, dedup) ELSE 0 END;
END
$$;
