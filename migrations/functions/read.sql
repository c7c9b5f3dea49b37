-- Reads: instances follow the log by culvert.follow and begin with what culvert.recent returns, and clients catch up by
-- culvert.page.

-- Each is written for exactly one plan: a scan along an index
-- that stops when it has enough. A new slice begins every hour, so there are often
-- no statistics, and the planner would then collect and sort all the rest of
-- the slice for every page. A read is planned for the cursor's value, so it opens only the
-- partitions after the cursor.
--
-- Where there is no other plan, as for the one row of culvert.log, Postgres still uses a forbidden
-- one and counts it as very expensive. So JIT is off: it would compile such a plan for a second.
--
-- They are VOLATILE on purpose: each then reads in a snapshot taken after it has
-- locked the partitions. In the caller's snapshot, taken before, a slice dropped
-- in between would be missing without a gap.

-- damage returns the error if Postgres cannot read a row of culvert.events because the disk lost a part
-- of it, and NULL if it can. follow and page call it only when careful is set: callers set it after
-- a read has failed. A damaged row then has no event, and the error as its data.
CREATE OR REPLACE FUNCTION culvert.damage("offset" bigint, room_id bigint) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_bitmapscan = off SET enable_seqscan = off AS $$
#variable_conflict use_variable
BEGIN
    PERFORM length(e::text) FROM culvert.events e WHERE e."offset" = "offset" AND e.room_id = room_id;
    RETURN NULL;
EXCEPTION WHEN internal_error THEN
    RETURN SQLERRM;
END
$$;

-- follow returns up to rows_ rows and about bytes_ bytes of the log after one offset and up to
-- another. It returns at least one row; without events, that row has NULL for the event. An
-- event in several rooms is several rows, of which the first has its data. The limit on
-- bytes does not split these rows, but the limit on rows may.
CREATE OR REPLACE FUNCTION culvert.follow(ids bigint, after bigint, upto bigint, rows_ integer, bytes_ bigint, careful boolean)
RETURNS TABLE (log text, floor bigint, "offset" bigint, at timestamptz, is_binary boolean, event text,
               sender text, except_ text[], data text, place text, pruned bigint,
               reply_until timestamptz, counter bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_bitmapscan = off SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT l.id, l.floor, e."offset", e.at, e.is_binary,
           CASE WHEN d.fault IS NULL THEN e.event END, CASE WHEN d.fault IS NULL THEN e.sender END,
           CASE WHEN d.fault IS NULL THEN e.except_ END, CASE WHEN d.fault IS NULL THEN e.data ELSE d.fault END,
           (SELECT n.name || '/' || r.name
              FROM culvert.rooms r
              JOIN culvert.namespaces n ON n.id = r.namespace_id
             WHERE r.id = e.room_id),
           0::bigint, e.reply_until, (SELECT o.last_value FROM culvert.offsets o)
      FROM culvert.log l
      LEFT JOIN LATERAL (
           SELECT *, sum(octet_length(next.data)) OVER (
                  ORDER BY next."offset" RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
             FROM (SELECT *
                     FROM culvert.events
                    WHERE events."offset" > after AND events."offset" <= upto
                    ORDER BY events."offset", events.room_id
                    LIMIT rows_) next) e ON e.before IS NULL OR e.before < bytes_
     CROSS JOIN LATERAL (SELECT CASE WHEN careful AND e."offset" IS NOT NULL THEN culvert.damage(e."offset", e.room_id) END AS fault) d
     WHERE culvert.check_ids(ids)
     ORDER BY e."offset", e.room_id;
END
$$;

-- recent returns up to rows_ rows and about bytes_ bytes of the newest events up to an offset, in order. It has the rows of
-- follow, whose first one may be missing here if the limit on rows splits an event. It looks into one slice: the newest
-- that begins at or before the offset, so that it opens one partition. If the page was not cut short by a limit, it has
-- all events after its floor.
CREATE OR REPLACE FUNCTION culvert.recent(ids bigint, upto bigint, rows_ integer, bytes_ bigint, careful boolean)
RETURNS TABLE (log text, floor bigint, "offset" bigint, at timestamptz, is_binary boolean, event text,
               sender text, except_ text[], data text, place text, pruned bigint,
               reply_until timestamptz, counter bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_bitmapscan = off SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    low  bigint; -- low and high select the partition
    high bigint;
BEGIN
    SELECT max(s.n) * 1000000000::bigint - 1 INTO low FROM culvert.slices s WHERE s.n <= upto / 1000000000;
    high := least(upto, low + 1000000000);
    RETURN QUERY
    SELECT l.id, greatest(l.floor, low), e."offset", e.at, e.is_binary,
           CASE WHEN d.fault IS NULL THEN e.event END, CASE WHEN d.fault IS NULL THEN e.sender END,
           CASE WHEN d.fault IS NULL THEN e.except_ END, CASE WHEN d.fault IS NULL THEN e.data ELSE d.fault END,
           (SELECT n.name || '/' || r.name
              FROM culvert.rooms r
              JOIN culvert.namespaces n ON n.id = r.namespace_id
             WHERE r.id = e.room_id),
           0::bigint, e.reply_until, (SELECT o.last_value FROM culvert.offsets o)
      FROM culvert.log l
      LEFT JOIN LATERAL (
           SELECT *, sum(octet_length(next.data)) OVER (
                  ORDER BY next."offset" DESC RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
             FROM (SELECT *
                     FROM culvert.events
                    WHERE events."offset" > low AND events."offset" <= high
                    ORDER BY events."offset" DESC, events.room_id DESC
                    LIMIT rows_) next) e ON e.before IS NULL OR e.before < bytes_
     CROSS JOIN LATERAL (SELECT CASE WHEN careful AND e."offset" IS NOT NULL THEN culvert.damage(e."offset", e.room_id) END AS fault) d
     WHERE culvert.check_ids(ids)
     ORDER BY e."offset", e.room_id;
END
$$;

-- page returns a page of events from rooms of a namespace, in order: those after one offset (and
-- after the floor) and up to another, up to rows_ events and about bytes_ bytes. A deleted namespace
-- gives no row at all. Of each room it reads the events after since up to until; a room may be given
-- several times with different intervals. The first row is about the whole page. It has the log,
-- the floor, the counter, the namespace (in place), and in pruned the last offset that retention took
-- from what was asked for, or 0. The other rows have only the fields of their event, with the
-- room in place. Everything is read in one snapshot. An event addressed to several of the rooms
-- comes once, for the room whose name comes first. Data beyond the limit on bytes is not
-- fetched, because its length is known without fetching it. If data is NULL, culvert.bodies has it.
CREATE OR REPLACE FUNCTION culvert.page(ids bigint, namespace_id integer, rooms text[], since bigint[], until bigint[],
                             after bigint, upto bigint, rows_ integer, bytes_ bigint, careful boolean)
RETURNS TABLE (log text, floor bigint, "offset" bigint, at timestamptz, is_binary boolean, event text,
               sender text, except_ text[], data text, place text, pruned bigint,
               reply_until timestamptz, counter bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_bitmapscan = off SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    ns integer := namespace_id;
    start bigint;
BEGIN
    -- start is known before the plan is made, so that the plan leaves out partitions. The
    -- floor that counts is the one in the query's own snapshot.
    SELECT greatest(after, n.floor) INTO start FROM culvert.namespaces n WHERE n.id = ns;
    RETURN QUERY
    SELECT l.id, greatest(l.floor, n.floor), NULL::bigint, NULL::timestamptz, NULL::boolean, NULL, NULL, NULL::text[], NULL,
           n.name, p.pruned, NULL::timestamptz, (SELECT o.last_value FROM culvert.offsets o)
      FROM culvert.log l
      JOIN culvert.namespaces n ON n.id = ns AND n.name IS NOT NULL
     CROSS JOIN LATERAL (
           SELECT coalesce(max(least(r.pruned, s.until)), 0) AS pruned
             FROM unnest(rooms, since, until) AS s (name, since, until)
             JOIN culvert.rooms r ON r.namespace_id = ns AND r.name = s.name
            WHERE r.pruned > greatest(after, s.since) AND s.until > after) p
     WHERE culvert.check_ids(ids)
     UNION ALL
    SELECT NULL, NULL, e."offset", e.at, e.is_binary,
           CASE WHEN d.fault IS NULL THEN e.event END, CASE WHEN d.fault IS NULL THEN e.sender END,
           CASE WHEN d.fault IS NULL THEN e.except_ END, CASE WHEN d.fault IS NULL THEN e.data ELSE d.fault END,
           e.name, NULL, e.reply_until, NULL
      FROM (SELECT *, sum(coalesce(next.elsewhere, octet_length(next.data))) OVER (
                   ORDER BY next."offset" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
              FROM (SELECT DISTINCT ON (e."offset") e.*, r.name
                      FROM culvert.namespaces n
                     CROSS JOIN unnest(rooms, since, until) AS s (name, since, until)
                      JOIN culvert.rooms r ON r.namespace_id = ns AND r.name = s.name
                     CROSS JOIN LATERAL (
                           SELECT *
                             FROM culvert.events
                            WHERE events.room_id = r.id
                              AND events."offset" > start AND events."offset" <= upto -- selects the partitions
                              AND events."offset" > greatest(s.since, n.floor) AND events."offset" <= s.until
                            ORDER BY events."offset"
                            LIMIT rows_) e
                     WHERE n.id = ns AND n.name IS NOT NULL
                     ORDER BY e."offset", r.name COLLATE "C"
                     LIMIT rows_) next) e
     CROSS JOIN LATERAL (SELECT CASE WHEN careful THEN culvert.damage(e."offset", e.room_id) END AS fault) d
     WHERE e.before IS NULL OR e.before < bytes_;
END
$$;

-- bodies returns the data and exceptions of events of which culvert.page returned a row without data,
-- in the order of their offsets, and the floor: events up to it were dropped with their slice meanwhile.
-- If careful is set, fault says why data cannot be read, as in culvert.damage.
CREATE OR REPLACE FUNCTION culvert.bodies(ids bigint, offsets bigint[], careful boolean)
RETURNS TABLE ("offset" bigint, floor bigint, data text, except_ text[], fault text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_bitmapscan = off SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    low  bigint := offsets[1]; -- low and high select the partitions
    high bigint := offsets[cardinality(offsets)];
BEGIN
    RETURN QUERY
    SELECT o.at, l.floor, CASE WHEN d.fault IS NULL THEN e.data END, CASE WHEN d.fault IS NULL THEN e.except_ END, d.fault
      FROM culvert.log l
     CROSS JOIN unnest(offsets) AS o (at)
      LEFT JOIN LATERAL (
           SELECT *
             FROM culvert.events
            WHERE events."offset" = o.at AND events."offset" >= low AND events."offset" <= high
              AND events.data IS NOT NULL
            ORDER BY events."offset", events.room_id
            LIMIT 1) e ON true
     CROSS JOIN LATERAL (SELECT CASE WHEN careful AND e."offset" IS NOT NULL THEN culvert.damage(e."offset", e.room_id) END AS fault) d
     WHERE culvert.check_ids(ids)
     ORDER BY o.at;
END
$$;
