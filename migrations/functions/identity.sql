-- Which log this is, and how a server that lost a part of it is recognised.

-- identified tells whether the log was last used in this same place: on this
-- start of the server, in this database, in this table. Any restore, failover,
-- restored snapshot, copy or upgrade changes one of these. Managed servers show all of
-- them.
CREATE OR REPLACE FUNCTION culvert.identified(started timestamptz, database oid, self oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN -- not an SQL function, which would be planned again for every statement that calls it
    RETURN started = pg_postmaster_start_time()
       AND self = 'culvert.log'::regclass
       AND database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
END
$$;

-- check_ids raises CV001 unless ids that were looked up in a generation are right in the caller's
-- snapshot. Every statement with the id of a namespace, room or handler as a parameter calls it:
-- behind a pooler, a connection stays open while the server behind it is replaced.
CREATE OR REPLACE FUNCTION culvert.check_ids(known bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
       SELECT FROM culvert.log l
        WHERE l.generation = known AND culvert.identified(l.started, l.database, l.self)) THEN
        RETURN true;
    END IF;
    RAISE EXCEPTION 'ids of generation % are not those of this database any more', known USING ERRCODE = 'CV001';
END
$$;

-- clock_offset is the offset that the clock shows now: a slice of 10^9 for every 10 minutes since
-- 2025, or for less time where slices are shorter. No log gives out offsets as fast, so the
-- clock is above all offsets that were given out before, also by servers whose data is
-- lost. At 10 minutes it stays below 2^53 until 2196.
CREATE OR REPLACE FUNCTION culvert.clock_offset(l culvert.log) RETURNS bigint
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    SELECT l.clock_from + floor(extract(epoch FROM clock_timestamp() - l.clock_at) * 1000000000 / extract(epoch FROM l.clock_slice))::bigint;
END;

-- hasten makes the clock go faster than slices of length grain are opened, by a quarter or more,
-- from now on. The caller holds the append lock.
CREATE OR REPLACE FUNCTION culvert.hasten(grain interval) RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    UPDATE culvert.log l
       SET clock_from = culvert.clock_offset(l), clock_at = clock_timestamp(), clock_slice = greatest(grain, '1 second') * 0.8
     WHERE l.clock_slice > greatest(grain, '1 second') * 0.8;
END;

-- begin_run closes the open run at the last position that the database knows and opens
-- another run where the clock says: above `beyond` and above everything that a server
-- whose data is lost may have given out. The caller holds the append lock. A run without
-- events is moved instead of closed, so that a server that crashes repeatedly leaves no rows behind.
--
-- The log may be ahead of the clock, because the clock was set back or because more events came
-- than the clock allows for. Then the clock continues from the log's position, as if it had shown
-- that position 144 slices (a day) before the open run began. This depends only on the database:
-- when one backup is restored several times, each restore continues above the one before. If the clock is
-- further back than that, the run begins 1,000 to 2,000 slices later, at random.
CREATE OR REPLACE FUNCTION culvert.begin_run(beyond bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    l     culvert.log;
    known bigint;
    used  bigint;
    base  bigint;
    most  CONSTANT bigint := 9000000 * 1000000000::bigint;
BEGIN
    SELECT * INTO l FROM culvert.log FOR NO KEY UPDATE; -- locked before the tables, as in open_slice
    -- The counter may have been restored without the events that it counted.
    SELECT greatest(l.floor, max(e."offset")) INTO known FROM culvert.events e;
    SELECT greatest(known, max(n.floor), max(n.born)) INTO known FROM culvert.namespaces n;
    SELECT greatest(o.last_value, known, beyond, l.slice::bigint * 1000000000 - 1) INTO used FROM culvert.offsets o;
    base := culvert.clock_offset(l);
    IF base <= used THEN
        SELECT r.began - 144 * l.clock_slice INTO l.clock_at FROM culvert.runs r WHERE r.last IS NULL;
        l.clock_from := used;
        base := culvert.clock_offset(l);
        IF base > used AND base < most THEN
            UPDATE culvert.log SET clock_at = l.clock_at, clock_from = l.clock_from;
        END IF;
    END IF;
    IF base <= used OR base >= most THEN
        base := used + ((1000 + 1000 * random()) * 1000000000)::bigint;
    END IF;

    UPDATE culvert.runs r SET last = known WHERE r.last IS NULL AND r.first <= known;
    DELETE FROM culvert.runs r WHERE r.last IS NULL;
    INSERT INTO culvert.runs (first) VALUES (base);
    IF base / 1000000000 > l.slice THEN
        PERFORM culvert.open_slice((base / 1000000000)::integer, known);
    ELSE -- The age of the open slice starts anew, so that slices do not overtake the clock.
        UPDATE culvert.slices s SET opened_at = clock_timestamp() WHERE s.n = l.slice;
    END IF;
    PERFORM setval('culvert.offsets', base);
    UPDATE culvert.log SET generation = DEFAULT;
END
$$;

-- identify records where the log is now. In another cluster or database it is a copy
-- or a restored dump, while the original may still be in use: it becomes another log. In
-- any case offsets continue in a new run, and instances look ids up again. The caller holds
-- the append lock.
CREATE OR REPLACE FUNCTION culvert.identify() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old culvert.log;
    new culvert.log;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'the server is a standby' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    SELECT * INTO old FROM culvert.log;
    new := old;
    new.started := pg_postmaster_start_time();
    new.self := 'culvert.log'::regclass;
    SELECT d.oid INTO new.database FROM pg_database d WHERE d.datname = current_database();
    BEGIN
        SELECT c.system_identifier INTO new.cluster FROM pg_control_system() c;
    EXCEPTION WHEN OTHERS THEN -- a managed server may refuse it, with any error: then only the database's oid shows a copy
        new.cluster := coalesce(old.cluster, 0);
    END;
    IF old.id IS NULL THEN
        new.id := substr(md5(gen_random_uuid()::text), 1, 8);
        PERFORM culvert.make_slice(0);
        INSERT INTO culvert.slices (n) VALUES (0);
        INSERT INTO culvert.runs (first) VALUES (0);
        INSERT INTO culvert.log (id, slice, started, cluster, database, self)
        VALUES (new.id, 0, new.started, new.cluster, new.database, new.self);
        RETURN;
    END IF;
    IF new.database <> old.database OR new.cluster <> old.cluster AND old.cluster <> 0 THEN
        new.id := substr(md5(gen_random_uuid()::text), 1, 8);
    END IF;
    UPDATE culvert.log SET id = new.id, started = new.started, cluster = new.cluster,
           database = new.database, self = new.self;
    PERFORM culvert.begin_run(0);
END
$$;

-- open is called by an instance when it starts, and whenever its ids are not those of
-- the database any more. It sets how long keys are remembered, and returns
-- the log's identity, its head and floor, its runs in order, and
-- the generation of its ids.
CREATE OR REPLACE FUNCTION culvert.open(dedup_ interval, OUT log text, OUT head bigint, OUT floor bigint,
                             OUT generation bigint, OUT firsts bigint[], OUT lasts bigint[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM culvert.lock_log();
    UPDATE culvert.log l SET dedup = dedup_ WHERE l.dedup <> dedup_;
    SELECT l.id, l.floor, greatest(l.floor, (SELECT max(e."offset") FROM culvert.events e)), l.generation
      INTO log, floor, head, generation
      FROM culvert.log l;
    SELECT array_agg(r.first ORDER BY r.first), array_agg(r.last ORDER BY r.first) INTO firsts, lasts FROM culvert.runs r;
END
$$;

-- restored begins a new run after a restore that the log cannot notice by itself, because rows were
-- put back under a running server. If proof is given, it does so only when the counter is below
-- that position: an instance that had already received it proves that the log lost its end.
-- head is the last position that was kept, and first is where offsets continue.
CREATE OR REPLACE FUNCTION culvert.restored(proof bigint DEFAULT NULL, OUT log text, OUT head bigint, OUT first bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    l culvert.log;
    n bigint;
BEGIN
    l := culvert.lock_log();
    SELECT o.last_value INTO n FROM culvert.offsets o;
    IF proof IS NULL OR proof > n THEN
        PERFORM culvert.begin_run(coalesce(proof, 0));
    END IF;
    log := l.id;
    SELECT max(r.last), max(r.first) INTO head, first FROM culvert.runs r;
    PERFORM pg_notify('culvert', first::text);
END
$$;
