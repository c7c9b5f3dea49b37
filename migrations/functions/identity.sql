-- Which log this is, and how it is told from a copy or a restore.

-- recognise compares the server it runs on with the one seen last. Another
-- timeline of the same cluster is a promotion or a recovery to an earlier moment:
-- what was lost may include whole slices, so offsets go on 1,000 slices later.
-- None that was lost is then given to another event, and old cursors stay valid
-- and below the head. Another cluster or database is a copy or a
-- restore: this is another log from here on. The caller holds the append lock.
CREATE OR REPLACE FUNCTION culvert.recognise() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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

-- open is what an instance calls when it starts: it recognises the log, says how
-- long keys are remembered, and returns the log's identity and its head.
CREATE OR REPLACE FUNCTION culvert.open(dedup_ interval, OUT log text, OUT head bigint, OUT floor bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1668639862, 1);
    PERFORM culvert.recognise();
    UPDATE culvert.log l SET dedup = dedup_ WHERE l.dedup <> dedup_;
    SELECT l.id, l.floor, greatest(l.floor, (SELECT max(e."offset") FROM culvert.events e))
      INTO log, floor, head
      FROM culvert.log l;
END
$$;
