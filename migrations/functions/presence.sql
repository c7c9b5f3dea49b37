-- Presence: who is online.

-- online returns the clients of a namespace for which some instance holds a lease now.
-- Postgres plans it as part of the query that calls it.
CREATE OR REPLACE FUNCTION culvert.online(ns integer) RETURNS TABLE (id bigint, name text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.id, c.name
      FROM culvert.clients c
     WHERE c.namespace_id = ns
       AND EXISTS (SELECT FROM culvert.leases l WHERE l.client_id = c.id AND l.until > statement_timestamp());
END;

-- online_in returns the clients that are online in any of the rooms now.
CREATE OR REPLACE FUNCTION culvert.online_in(ns integer, rooms text[]) RETURNS TABLE (name text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT o.name
      FROM culvert.online(ns) o
     WHERE '*' = ANY (rooms)
    UNION
    SELECT o.name
      FROM culvert.online(ns) o
      JOIN unnest(rooms) r (name) ON starts_with(r.name, '@') AND o.name = substr(r.name, 2)
    UNION
    SELECT o.name
      FROM unnest(rooms) u (name)
     CROSS JOIN LATERAL ( -- has LIMIT, see culvert.known
           SELECT r.id FROM culvert.rooms r WHERE r.namespace_id = ns AND r.name = u.name LIMIT 1) r
      JOIN culvert.memberships m ON m.room_id = r.id AND m.until IS NULL
      JOIN culvert.online(ns) o ON o.id = m.client_id;
END;

-- is_online tells whether some instance holds a lease for a client.
CREATE OR REPLACE FUNCTION culvert.is_online(client_id bigint) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM culvert.leases l WHERE l.client_id = is_online.client_id AND l.until > clock_timestamp());
END;

-- announce emits durable events to rooms with presence (see namespaces.presence) for each of the
-- given clients that went online or offline. The caller has locked
-- the clients' rows, so that each of two simultaneous changes is announced once.
CREATE OR REPLACE FUNCTION culvert.announce(ids bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    WITH turned AS (
         UPDATE culvert.clients c
            SET online = NOT c.online
          WHERE c.id = ANY (ids) AND c.online <> culvert.is_online(c.id)
         RETURNING c.id, c.name, c.namespace_id, c.online)
    INSERT INTO culvert.staged (namespace, rooms, event, data)
    SELECT n.name, ARRAY[room.name], CASE WHEN t.online THEN 'culvert:join' ELSE 'culvert:leave' END,
           '{"client":' || to_json(t.name)::text || '}'
      FROM turned t
      JOIN culvert.namespaces n ON n.id = t.namespace_id AND n.presence IS NOT NULL
     CROSS JOIN LATERAL (
           SELECT r.name
             FROM culvert.memberships m
             JOIN culvert.rooms r ON r.id = m.room_id
            WHERE m.client_id = t.id AND m.until IS NULL
            UNION ALL
           SELECT '*') room
     WHERE culvert.matches(n.presence, room.name);
    IF FOUND THEN
        PERFORM pg_notify('culvert', 'staged');
    END IF;
END
$$;

-- lease takes, renews or (with a lease of zero) gives up leases of an instance for
-- clients. Clients that are not stored are ignored.
CREATE OR REPLACE FUNCTION culvert.lease(instance text, ns integer[], name text[], lease interval[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    ids bigint[];
BEGIN
    -- Lock the rows of the clients first: all changes of a client's leases wait here for each other.
    SELECT array_agg(locked.id) INTO ids
      FROM (SELECT c.id
              FROM culvert.clients c
              JOIN unnest(ns, name) AS w (ns, name) ON c.namespace_id = w.ns AND c.name = w.name
             ORDER BY c.namespace_id, c.name COLLATE "C" -- as acknowledgements do
               FOR NO KEY UPDATE OF c) locked;
    -- From here on handle only the locked clients: one that was stored meanwhile is not locked.
    INSERT INTO culvert.leases AS l (client_id, instance, until)
    SELECT c.id, instance, clock_timestamp() + w.lease
      FROM unnest(ns, name, lease) AS w (ns, name, lease)
      JOIN culvert.clients c ON c.namespace_id = w.ns AND c.name = w.name
     WHERE w.lease > '0' AND c.id = ANY (ids)
    ON CONFLICT ON CONSTRAINT leases_pkey DO UPDATE SET until = excluded.until;
    DELETE FROM culvert.leases l
     USING unnest(ns, name, lease) AS w (ns, name, lease)
      JOIN culvert.clients c ON c.namespace_id = w.ns AND c.name = w.name
     WHERE l.client_id = c.id AND l.instance = instance AND w.lease = '0' AND c.id = ANY (ids);
    UPDATE culvert.clients c SET seen_at = clock_timestamp() WHERE c.id = ANY (ids);
    PERFORM culvert.announce(ids);
END
$$;

-- expire_leases ends the leases that have expired, which are those of instances that died. Only
-- one instance at a time does so.
CREATE OR REPLACE FUNCTION culvert.expire_leases() RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids bigint[];
BEGIN
    PERFORM FROM culvert.turns t WHERE t.n = 3 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT array_agg(DISTINCT l.client_id) INTO ids FROM culvert.leases l WHERE l.until <= clock_timestamp();
    IF ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM FROM culvert.clients c WHERE c.id = ANY (ids) ORDER BY c.namespace_id, c.name COLLATE "C" FOR NO KEY UPDATE;
    DELETE FROM culvert.leases l WHERE l.client_id = ANY (ids) AND l.until <= clock_timestamp();
    PERFORM culvert.announce(ids);
    RETURN cardinality(ids);
END
$$;
