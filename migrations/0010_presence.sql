-- Presence: who is online.

-- +goose Up

-- is_online tells whether some instance holds a lease for a client.
-- +goose StatementBegin
CREATE FUNCTION culvert.is_online(client_id bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM culvert.leases l WHERE l.client_id = is_online.client_id AND l.until > clock_timestamp())
$$;
-- +goose StatementEnd

-- matches tells whether a name is one of the patterns, in which "*" stands for any
-- run of characters.
-- +goose StatementBegin
CREATE FUNCTION culvert.matches(patterns text[], name text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT EXISTS (
           SELECT FROM unnest(patterns) AS p (pattern)
            WHERE name LIKE replace(replace(replace(replace(p.pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'))
$$;
-- +goose StatementEnd

-- announce tells the rooms that ask for it (see namespaces.presence) which of the
-- given clients came or went, as durable events in their place. The caller has locked
-- the clients' rows, so that of two changes at once each is told once.
-- +goose StatementBegin
CREATE FUNCTION culvert.announce(ids bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
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
-- +goose StatementEnd

-- lease takes, renews or (with a time of zero) gives up leases of an instance for
-- clients, given in the order of (ns, name). Clients that are not stored are passed over.
-- +goose StatementBegin
CREATE FUNCTION culvert.lease(instance text, ns integer[], name text[], lease interval[]) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    ids bigint[];
BEGIN
    -- The rows of the clients first: whoever changes a client's leases waits here.
    SELECT array_agg(locked.id) INTO ids
      FROM (SELECT c.id
              FROM culvert.clients c
              JOIN unnest(ns, name) AS w (ns, name) ON c.namespace_id = w.ns AND c.name = w.name
             ORDER BY c.namespace_id, c.name COLLATE "C" -- as acknowledgements do
               FOR UPDATE OF c) locked;
    INSERT INTO culvert.leases AS l (client_id, instance, until)
    SELECT c.id, instance, clock_timestamp() + w.lease
      FROM unnest(ns, name, lease) AS w (ns, name, lease)
      JOIN culvert.clients c ON c.namespace_id = w.ns AND c.name = w.name
     WHERE w.lease > '0'
    ON CONFLICT ON CONSTRAINT leases_pkey DO UPDATE SET until = excluded.until;
    DELETE FROM culvert.leases l
     USING unnest(ns, name, lease) AS w (ns, name, lease)
      JOIN culvert.clients c ON c.namespace_id = w.ns AND c.name = w.name
     WHERE l.client_id = c.id AND l.instance = instance AND w.lease = '0';
    UPDATE culvert.clients c SET seen_at = clock_timestamp() WHERE c.id = ANY (ids);
    PERFORM culvert.announce(ids);
END
$$;
-- +goose StatementEnd

-- expire_leases ends the leases that ran out: those of instances that died. One
-- instance at a time does so.
-- +goose StatementBegin
CREATE FUNCTION culvert.expire_leases() RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    ids bigint[];
BEGIN
    IF NOT pg_try_advisory_xact_lock(1668639862, 3) THEN
        RETURN 0;
    END IF;
    SELECT array_agg(DISTINCT l.client_id) INTO ids FROM culvert.leases l WHERE l.until <= clock_timestamp();
    IF ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM FROM culvert.clients c WHERE c.id = ANY (ids) ORDER BY c.namespace_id, c.name COLLATE "C" FOR UPDATE;
    DELETE FROM culvert.leases l WHERE l.client_id = ANY (ids) AND l.until <= clock_timestamp();
    PERFORM culvert.announce(ids);
    RETURN cardinality(ids);
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION culvert.lease, culvert.expire_leases, culvert.announce, culvert.matches, culvert.is_online FROM PUBLIC;

-- +goose Down
DROP FUNCTION culvert.lease, culvert.expire_leases, culvert.announce, culvert.matches, culvert.is_online;
