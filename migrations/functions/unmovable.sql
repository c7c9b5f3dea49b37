-- How staged events are moved when some of them cannot be moved. culvert.append calls these functions.

-- move_staged_all is culvert.move_staged for rows that may be invalid. Only rows that
-- culvert.emit staged are checked. A row that came in another way, or that an operator's trigger or
-- constraint refuses, must not keep all other rows from the log. If the
-- rows cannot be moved together, they are moved one by one, for at most a second, because everybody
-- waits for the append lock. A row that cannot be moved even alone is set aside in
-- culvert.unmovable; if the disk has damaged it, only the readable columns are kept. Other errors
-- are not caused by a row and are raised.
CREATE OR REPLACE FUNCTION culvert.move_staged_all(seen pg_snapshot, INOUT part xid8, INOUT last bigint, base bigint, dedup interval, carrying xid8,
                                  rows_ integer, bytes_ bigint,
                                  OUT moved integer, OUT stored integer, OUT more boolean, OUT upto xid8)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    one record;
    began timestamptz;
BEGIN
    BEGIN
        SELECT c.moved, c.stored, c.more, c.upto, c.part, c.last INTO moved, stored, more, upto, part, last
          FROM culvert.move_staged(seen, part, last, base, dedup, carrying, rows_, bytes_) c;
        RETURN;
    EXCEPTION
    WHEN unique_violation THEN
        RAISE; -- an offset is there already: the counter is behind the events, which is not caused by a row
    WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR raise_exception OR data_corrupted THEN
        moved := 0;
        stored := 0;
        more := true;
    END;
    began := clock_timestamp();
    PERFORM FROM culvert.log l FOR NO KEY UPDATE; -- locked before the tables, as in open_slice
    WHILE more AND moved < rows_ AND (moved = 0 OR clock_timestamp() < began + interval '1 second') LOOP
        SELECT l.carrying INTO carrying FROM culvert.log l;
        BEGIN
            SELECT * INTO one FROM culvert.move_staged(seen, part, last, base + stored, dedup, carrying, 1, bytes_);
            moved := moved + one.moved;
            stored := stored + one.stored;
            more := one.more;
            upto := coalesce(one.upto, upto);
            part := one.part;
            last := one.last;
        EXCEPTION
        WHEN unique_violation THEN
            RAISE;
        WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR raise_exception OR data_corrupted THEN
            PERFORM culvert.set_aside(s.xid, s.id, SQLERRM) FROM culvert.first_staged(seen, carrying) s;
            moved := moved + 1;
        END;
    END LOOP;
END
$$;

-- set_aside moves one staged row to culvert.unmovable and reports it in the logs of Postgres and
-- of the instance that moved it.
CREATE OR REPLACE FUNCTION culvert.set_aside(xid_ xid8, id_ bigint, error_ text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    BEGIN
        INSERT INTO culvert.unmovable (error, namespace, rooms, except_, event, data, sender, key)
        SELECT error_, s.namespace, s.rooms, s.except_, s.event, s.data, s.sender, s.key
          FROM culvert.staged s
         WHERE s.xid = xid_ AND s.id = id_;
    EXCEPTION WHEN data_corrupted THEN -- long values are stored apart from the row, and lost
        INSERT INTO culvert.unmovable (error, namespace, event, sender, key)
        SELECT error_, s.namespace, s.event, s.sender, s.key
          FROM culvert.staged s
         WHERE s.xid = xid_ AND s.id = id_;
    END;
    DELETE FROM culvert.staged s WHERE s.xid = xid_ AND s.id = id_;
    RAISE WARNING 'culvert: a staged event cannot be moved into the log, and was set aside in culvert.unmovable: %', error_;
END
$$;

-- set_first_aside sets aside the staged row that would be moved next.
CREATE OR REPLACE FUNCTION culvert.set_first_aside(seen pg_snapshot, error_ text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    l culvert.log;
BEGIN
    l := culvert.lock_log();
    PERFORM culvert.set_aside(s.xid, s.id, error_) FROM culvert.first_staged(seen, l.carrying) s;
END
$$;
