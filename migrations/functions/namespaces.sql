-- Namespaces: how they are made and deleted, and their retention.

-- registry_changed makes every instance read the registry again, and makes the transaction
-- commit to the disk. It must be the last call of a transaction that
-- changes the registry, because other such transactions wait for it.
CREATE OR REPLACE FUNCTION culvert.registry_changed() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM culvert.durable();
    UPDATE culvert.registry SET version = version + 1;
    PERFORM pg_notify('culvert', 'registry');
END
$$;

-- make_namespace makes a namespace unless there is one of that name. The namespace begins
-- at the head, because everything that is stored for it comes later. The comparison names its
-- collation: a caller may have sorted the names by another one, and with that the index could not be used.
CREATE OR REPLACE FUNCTION culvert.make_namespace(name_ text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM culvert.namespaces n WHERE n.name = name_ COLLATE "default") THEN
        RETURN false;
    END IF;
    INSERT INTO culvert.namespaces (name, born, floor)
    SELECT name_, o.last_value, o.last_value FROM culvert.offsets o
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- delete_namespace closes a namespace for good: after its commit nobody finds
-- it by its name, and no append stores events in it. Nobody can reach what it leaves
-- behind, and sweep_namespaces deletes that outside of the append lock. It returns false if
-- there is no such namespace.
CREATE OR REPLACE FUNCTION culvert.delete_namespace(name_ text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Wait for transactions that hold the row, such as expire, before taking the append lock.
    PERFORM FROM culvert.namespaces n WHERE n.name = name_ FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    LOCK TABLE culvert.append_lock IN SHARE UPDATE EXCLUSIVE MODE;
    UPDATE culvert.namespaces n
       SET name = NULL, deleted_at = clock_timestamp(), retention = NULL, dedup = NULL, presence = NULL
     WHERE n.name = name_;
    DELETE FROM culvert.staged s WHERE s.namespace = name_;
    UPDATE culvert.log SET generation = DEFAULT;
    PERFORM culvert.registry_changed();
    RETURN true;
END
$$;

-- sweep_namespaces deletes up to limit_ rows of each kind that deleted namespaces
-- left behind, and returns whether there may be more. Events are dropped with their
-- slices. The row of the namespace is deleted two days later, when no instance can
-- remember it any more.
CREATE OR REPLACE FUNCTION culvert.sweep_namespaces(limit_ integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dead integer[];
    ids  bigint[];
    n    integer;
    more boolean := false;
BEGIN
    SELECT array_agg(s.id) INTO dead FROM culvert.namespaces s WHERE s.name IS NULL;
    IF dead IS NULL THEN
        RETURN false;
    END IF;
    PERFORM FROM culvert.turns t WHERE t.n = 2 FOR UPDATE; -- prune and expire update rooms, too
    -- Acknowledgements, leases and runs of handlers that began before the deletion may
    -- still hold rows. So these rows are locked in the one order (see append) before they are deleted.
    SELECT array_agg(d.id) INTO ids
      FROM (SELECT c.id FROM culvert.clients c WHERE c.namespace_id = ANY (dead) LIMIT limit_) d;
    PERFORM FROM culvert.clients c WHERE c.id = ANY (ids) ORDER BY c.namespace_id, c.name COLLATE "C" FOR UPDATE;
    DELETE FROM culvert.clients c WHERE c.id = ANY (ids);
    GET DIAGNOSTICS n = ROW_COUNT;
    more := n = limit_;
    IF NOT more THEN -- rooms come after clients: memberships refer to them
        DELETE FROM culvert.rooms r
         WHERE r.id IN (SELECT d.id FROM culvert.rooms d WHERE d.namespace_id = ANY (dead) LIMIT limit_);
        GET DIAGNOSTICS n = ROW_COUNT;
        more := n = limit_;
    END IF;
    DELETE FROM culvert.keys k
     WHERE (k.namespace_id, k.owner, k.key) IN (
           SELECT d.namespace_id, d.owner, d.key FROM culvert.keys d WHERE d.namespace_id = ANY (dead) LIMIT limit_);
    GET DIAGNOSTICS n = ROW_COUNT;
    more := more OR n = limit_;
    PERFORM FROM culvert.handler_jobs j JOIN culvert.handlers h ON h.id = j.handler_id
      WHERE h.namespace_id = ANY (dead) ORDER BY j.handler_id, j."offset" FOR UPDATE OF j;
    DELETE FROM culvert.handlers h WHERE h.namespace_id = ANY (dead);
    IF NOT more THEN
        DELETE FROM culvert.namespaces s WHERE s.deleted_at < clock_timestamp() - interval '2 days';
    END IF;
    RETURN more;
END
$$;

-- expire raises the floors of namespaces whose retention is shorter than the longest one:
-- each floor past the next slice that was closed longer ago than the namespace's
-- retention (or keep, the server's, if it has none of its own). Each call passes one
-- slice, as in prune. It returns how many floors it raised.
CREATE OR REPLACE FUNCTION culvert.expire(keep interval) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    longest interval;
    due     record;
    raised  integer := 0;
BEGIN
    PERFORM FROM culvert.turns t WHERE t.n = 2 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT greatest(keep, max(n.retention)) INTO longest FROM culvert.namespaces n;
    FOR due IN
        SELECT s.n, s.last, array_agg(n.id) AS namespaces
          FROM culvert.namespaces n
         CROSS JOIN LATERAL (
               SELECT s.n, s.last
                 FROM culvert.slices s
                WHERE s.last > n.floor AND s.last >= s.n::bigint * 1000000000 -- not an empty one
                  AND s.closed_at < clock_timestamp() - coalesce(n.retention, keep)
                ORDER BY s.n LIMIT 1) s
         WHERE n.name IS NOT NULL AND coalesce(n.retention, keep) < longest
         GROUP BY s.n, s.last
         ORDER BY s.n
    LOOP
        EXECUTE format(
            'UPDATE culvert.rooms r SET pruned = greatest(r.pruned, gone.last)
               FROM (SELECT e.room_id, max(e."offset") AS last
                       FROM culvert.%I e
                       JOIN culvert.rooms d ON d.id = e.room_id AND d.namespace_id = ANY ($1)
                      GROUP BY e.room_id) gone
              WHERE r.id = gone.room_id', 'events_' || due.n) USING due.namespaces;
        UPDATE culvert.namespaces n
           SET floor = due.last,
               pruned = greatest(n.pruned, (SELECT max(r.pruned) FROM culvert.rooms r WHERE r.namespace_id = n.id))
         WHERE n.id = ANY (due.namespaces);
        raised := raised + cardinality(due.namespaces);
    END LOOP;
    IF raised > 0 THEN
        PERFORM culvert.registry_changed();
    END IF;
    RETURN raised;
END
$$;
