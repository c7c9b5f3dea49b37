-- Staged events that cannot be moved into the log.

-- carry_all is culvert.carry, which moves staged events into the log, for any rows. Only
-- culvert.emit checks what it stages: rows that came by another way, or that a trigger or
-- constraint of somebody else refuses, must not keep all the others from the log. When the
-- rows cannot be moved together they are moved one by one, and those that cannot be moved
-- alone are set aside in culvert.unmovable. Faults of the server are not theirs.
CREATE OR REPLACE FUNCTION culvert.carry_all(seen xid8, base bigint, dedup interval, OUT moved integer, OUT stored integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    staged record;
    one    record;
BEGIN
    BEGIN
        SELECT c.moved, c.stored INTO moved, stored FROM culvert.carry(seen, base, dedup) c;
        RETURN;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR raise_exception THEN
        moved := 0;
        stored := 0;
    END;
    FOR staged IN
        SELECT array_agg(t.xid ORDER BY t.xid, t.id) AS xids, array_agg(t.id ORDER BY t.xid, t.id) AS ids
          FROM (SELECT s.xid, s.id FROM culvert.staged s WHERE s.xid >= seen ORDER BY s.xid, s.id LIMIT 1000) t
    LOOP
        FOR i IN 1..coalesce(cardinality(staged.ids), 0) LOOP
            BEGIN
                SELECT c.moved, c.stored INTO one FROM culvert.carry(staged.xids[i], base + stored, dedup, staged.ids[i]) c;
                stored := stored + one.stored;
            EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR raise_exception THEN
                PERFORM culvert.set_aside(staged.xids[i], staged.ids[i], SQLERRM);
            END;
            moved := moved + 1;
        END LOOP;
    END LOOP;
END
$$;

-- set_aside takes one staged row out of the way and says so in the logs of Postgres and
-- of the instance that found it.
CREATE OR REPLACE FUNCTION culvert.set_aside(xid_ xid8, id_ bigint, error_ text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    WITH gone AS (
         DELETE FROM culvert.staged s WHERE s.xid = xid_ AND s.id = id_ RETURNING s.*)
    INSERT INTO culvert.unmovable (error, namespace, rooms, except_, event, data, sender, key)
    SELECT error_, g.namespace, g.rooms, g.except_, g.event, g.data, g.sender, g.key FROM gone g;
    RAISE WARNING 'culvert: a staged event cannot be moved into the log, and was set aside in culvert.unmovable: %', error_;
END
$$;
