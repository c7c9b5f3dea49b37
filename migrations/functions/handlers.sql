-- Handlers: events become jobs.

-- dispatch makes jobs from the events after a handler's position and moves the position, both or
-- neither. It looks at up to rows_ rows and about 8 MiB. busy means that another instance is
-- dispatching this handler. moved is the number of new jobs, more says whether
-- there was more to look at. lost says that retention took events of the namespace
-- before they became jobs: after gap_from, up to gap_to.
--
-- It reads like culvert.follow and is VOLATILE for the same reason. It ignores Culvert's
-- hidden rooms, which begin with U+0001.
CREATE OR REPLACE FUNCTION culvert.dispatch(handler integer, rows_ integer, OUT busy boolean, OUT moved integer, OUT more boolean,
                                 OUT lost boolean, OUT gap_from bigint, OUT gap_to bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_bitmapscan = off SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    h      culvert.handlers;
    start  bigint;
    last   bigint;
    seen   integer;
    bytes  bigint;
    careful boolean;
BEGIN
    moved := 0; more := false; lost := false;
    PERFORM culvert.durable();
    SELECT * INTO h FROM culvert.handlers k WHERE k.id = handler FOR UPDATE SKIP LOCKED;
    busy := NOT FOUND;
    IF busy THEN
        RETURN;
    END IF;
    -- Rows at or below the floor of a namespace do not count any more, even if they still exist.
    SELECT greatest(h.position, n.floor) INTO start
      FROM culvert.namespaces n
     WHERE n.id = h.namespace_id AND n.name IS NOT NULL;
    IF NOT FOUND THEN -- deleted: the instance that runs the handler notices and starts over
        RETURN;
    END IF;
    SELECT count(*), max(e."offset"), coalesce(sum(e.bytes), 0) INTO seen, last, bytes
      FROM (SELECT n."offset", n.bytes, sum(n.bytes) OVER (ORDER BY n."offset", n.room_id) AS upto
              FROM (SELECT events."offset", events.room_id, coalesce(octet_length(events.data), 0) AS bytes
                      FROM culvert.events
                     WHERE events."offset" > start
                     ORDER BY events."offset", events.room_id
                     LIMIT rows_) n) e
     WHERE e.upto - e.bytes < 8388608;
    IF seen = rows_ OR bytes >= 8388608 THEN
        more := true;
        last := last - 1; -- the last one may have more rooms
    END IF;
    last := coalesce(last, start);
    -- The first attempt makes no checks. If Postgres cannot read some of the events (a damaged disk), the
    -- second one checks each: the unreadable ones become jobs without data, which are parked.
    FOREACH careful IN ARRAY ARRAY[false, true] LOOP
        BEGIN
            INSERT INTO culvert.handler_jobs (handler_id, "offset", room, at, is_binary, event, sender, except_, data, reply_until)
            SELECT j.handler, j."offset", j.name, j.at, j.is_binary, j.event, CASE WHEN d.fault IS NULL THEN j.sender END,
                   CASE WHEN d.fault IS NULL THEN CASE WHEN j.data IS NULL THEN b.except_ ELSE j.except_ END END,
                   CASE WHEN d.fault IS NULL THEN coalesce(j.data, b.data, '') ELSE '' END, j.reply_until
              FROM (SELECT DISTINCT ON (e."offset") h.id AS handler, e.*, r.name
                      FROM culvert.events e
                      JOIN culvert.rooms r ON r.id = e.room_id
                     WHERE e."offset" > start AND e."offset" <= last
                       AND r.namespace_id = h.namespace_id AND NOT starts_with(r.name, E'\x01')
                       AND culvert.handles(h.pattern, e.event)
                     ORDER BY e."offset", r.name COLLATE "C") j
              LEFT JOIN LATERAL ( -- long data is in the row of one of the rooms
                   SELECT f.room_id, f.data, f.except_
                     FROM culvert.events f
                    WHERE j.data IS NULL AND f."offset" = j."offset" AND f."offset" > start AND f."offset" <= last AND f.data IS NOT NULL
                    ORDER BY f."offset", f.room_id
                    LIMIT 1) b ON true
             CROSS JOIN LATERAL (
                   SELECT CASE WHEN careful THEN coalesce(
                               culvert.damage(j."offset", j.room_id),
                               CASE WHEN b.room_id IS NOT NULL THEN culvert.damage(j."offset", b.room_id) END) END AS fault) d;
            GET DIAGNOSTICS moved = ROW_COUNT;
            EXIT;
        EXCEPTION WHEN internal_error THEN
            IF careful THEN
                RAISE;
            END IF;
        END;
    END LOOP;

    -- This comes last: from now on no slice can be dropped, because this transaction has locked them.
    SELECT n.pruned INTO gap_to FROM culvert.namespaces n WHERE n.id = h.namespace_id;
    lost := coalesce(gap_to > h.position, false);
    gap_from := h.position;
    last := greatest(last, CASE WHEN lost THEN gap_to END);
    IF last > h.position THEN
        UPDATE culvert.handlers k SET position = last, gaps = k.gaps + lost::integer WHERE k.id = h.id;
    END IF;
END
$$;

-- empty_damaged_jobs removes the data of a handler's jobs that Postgres cannot read, so
-- that they can be claimed and parked. It returns the number of these jobs.
CREATE OR REPLACE FUNCTION culvert.empty_damaged_jobs(ids bigint, handler integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    o bigint;
    n integer := 0;
BEGIN
    PERFORM culvert.durable();
    PERFORM culvert.check_ids(ids);
    FOR o IN SELECT j."offset" FROM culvert.handler_jobs j WHERE j.handler_id = handler ORDER BY j."offset" LOOP
        BEGIN
            PERFORM length(j::text) FROM culvert.handler_jobs j WHERE j.handler_id = handler AND j."offset" = o;
        EXCEPTION WHEN internal_error THEN
            UPDATE culvert.handler_jobs j SET data = '', sender = NULL, except_ = NULL WHERE j.handler_id = handler AND j."offset" = o;
            n := n + 1;
        END;
    END LOOP;
    RETURN n;
END
$$;
