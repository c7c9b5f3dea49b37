-- Presence: who is online.

-- +goose Up

-- is_online tells whether some instance holds a lease for a client.
-- +goose StatementBegin
CREATE FUNCTION culvert.is_online(client_id bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM culvert.leases l WHERE l.client_id = is_online.client_id AND l.until > clock_timestamp())
$$;
-- +goose StatementEnd

-- lease takes, renews or (with a time of zero) gives up leases of an instance for
-- clients, given in the order of (ns, name). Clients that are not stored are passed over.
-- +goose StatementBegin
CREATE FUNCTION culvert.lease(instance text, ns integer[], name text[], lease interval[]) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
    -- The rows of the clients first: whoever changes a client's leases waits here.
    PERFORM FROM culvert.clients c
       JOIN unnest(ns, name) AS w (ns, name) ON c.namespace_id = w.ns AND c.name = w.name
      ORDER BY c.namespace_id, c.name
        FOR UPDATE OF c;
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
    UPDATE culvert.clients c SET seen_at = clock_timestamp()
      FROM unnest(ns, name) AS w (ns, name)
     WHERE c.namespace_id = w.ns AND c.name = w.name;
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION culvert.lease, culvert.is_online FROM PUBLIC;

-- +goose Down
DROP FUNCTION culvert.lease, culvert.is_online;
