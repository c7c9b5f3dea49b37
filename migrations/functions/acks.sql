-- Acknowledgements: how far clients have come.

-- ack moves stored cursors forward, never back, and stores clients that are not stored yet.
-- The arrays name each client once, in the order of (ns, client COLLATE "C"); ack returns the
-- cursors that are stored after the call, in the same order.
CREATE OR REPLACE FUNCTION culvert.ack(ns integer[], client text[], position_ bigint[], generation bigint) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    stored bigint[];
BEGIN
    PERFORM culvert.durable();
    PERFORM culvert.check_ids(generation);
    WITH moved AS (
         INSERT INTO culvert.clients AS c (namespace_id, name, cursor)
         SELECT a.ns, a.client, a.position_
           FROM unnest(ns, client, position_) AS a (ns, client, position_)
          ORDER BY a.ns, a.client COLLATE "C"
         ON CONFLICT ON CONSTRAINT clients_namespace_id_name_key DO UPDATE
            SET cursor = greatest(c.cursor, excluded.cursor), seen_at = clock_timestamp()
         RETURNING c.namespace_id, c.name, c.cursor)
    SELECT array_agg(m.cursor ORDER BY m.namespace_id, m.name COLLATE "C") INTO stored FROM moved m;
    RETURN stored;
END
$$;
