-- Which log this is, and how a server that lost some of it is told.

-- identified tells whether the log was at work in this very place before: on this
-- start of the server, in this database, in this table. Any restore, failover,
-- snapshot put back, copy or upgrade changes one of them, and nothing that a managed
-- server withholds is asked for.
CREATE OR REPLACE FUNCTION culvert.identified(started timestamptz, database oid, self oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN -- not an SQL function, which would be planned again for every statement that asks
    RETURN started = pg_postmaster_start_time()
       AND self = 'culvert.log'::regclass
       AND database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
END
$$;

-- check_ids raises CV001 unless ids looked up in a generation are true in the caller's
-- snapshot. Every statement that is given the id of a namespace, room or handler asks:
-- behind a pooler a connection lives on while the server behind it becomes another.
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

-- clock_offset is the offset of this moment: a slice of 10^9 for every 10 minutes since
-- 2025, or for less time where slices are shorter. No log gives out offsets as fast, so what
-- the clock says now is above all that was given out before, also by servers whose data is
-- lost. At 10 minutes it stays below 2^53 until 2196.
CREATE OR REPLACE FUNCTION culvert.clock_offset(l culvert.log) RETURNS bigint
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    SELECT l.clock_from + floor(extract(epoch FROM clock_timestamp() - l.clock_at) * 1000000000 / extract(epoch FROM l.clock_slice))::bigint;
END;

-- hasten has the clock go faster than slices are opened, a quarter at least, from here on.
-- The caller holds the append lock.
CREATE OR REPLACE FUNCTION culvert.hasten(grain interval) RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    UPDATE culvert.log l
       SET clock_from = culvert.clock_offset(l), clock_at = clock_timestamp(), clock_slice = greatest(grain, '1 second') * 0.8
     WHERE l.clock_slice > greatest(grain, '1 second') * 0.8;
END;

-- begin_run closes the open run at the last position the database knows and opens
-- another one, above `beyond` and above all that may have been given out by a server
-- that lost its data: where the clock says. The caller holds the append lock. A run without
-- events is moved instead, so that a server that crashes again and again leaves nothing behind.
--
-- When the log is ahead of the clock, which was set back or did not know how much would
-- come, the clock goes on from where the log is, as if it had stood there 144 slices (a day)
-- before the open run began. That depends on the database alone: of restores of one
-- backup, each goes on above what the one before gave out. A clock that is back even
-- further tells nothing: then it is 1,000 slices and a random number of up to 1,000.
CREATE OR REPLACE FUNCTION culvert.begin_run(beyond bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    l     culvert.log;
    known bigint;
    used  bigint;
    base  bigint;
    most  CONSTANT bigint := 9000000 * 1000000000::bigint;
BEGIN
    SELECT * INTO l FROM culvert.log FOR NO KEY UPDATE; -- before the tables, as in open_slice
    -- The counter may have got here without the events that it counted.
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
    ELSE -- The next one is not opened before the clock gets there.
        UPDATE culvert.slices s SET opened_at = clock_timestamp() WHERE s.n = l.slice;
    END IF;
    PERFORM setval('culvert.offsets', base);
    UPDATE culvert.log SET generation = DEFAULT;
END
$$;

-- identify makes a log at home where it is now. Another cluster or database is a copy
-- or a dump, which may live beside the original: it is another log from here on. In
-- any case offsets go on in a new run, and ids are looked up again. The caller holds
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
    EXCEPTION WHEN OTHERS THEN -- a managed server refuses it in its own way: then only the database tells a copy
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

-- open is what an instance calls when it starts, and whenever its ids are not those of
-- the database any more. It says how long keys are remembered, and returns what the
-- instance then knows: the log's identity, its head and floor, its runs in order, and
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

-- restored begins a new run for a restore that the log cannot see by itself, for rows were
-- put back under a running server. With a position, it does so unless the log has got
-- there: an instance that was there before is the proof that the log lost its end.
-- head is the last position kept, and first where offsets go on.
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
