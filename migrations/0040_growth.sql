-- The cost of a read must not grow with other stored data that it does not ask for.

-- +goose Up

-- Lists are in the order of the names' bytes. With collation "C" the index of the names has
-- that order, so it serves lists and look-ups.
ALTER TABLE culvert.rooms
    ALTER COLUMN name TYPE text COLLATE "C",
    -- The offset of the room's newest event in the counted slices, see culvert.count_slice.
    ADD COLUMN newest bigint NOT NULL DEFAULT 0;
ALTER TABLE culvert.clients
    ALTER COLUMN name TYPE text COLLATE "C";

ALTER TABLE culvert.slices ADD COLUMN counted boolean NOT NULL DEFAULT false;

-- The last offset that retention took from any room of the namespace.
ALTER TABLE culvert.namespaces ADD COLUMN pruned bigint NOT NULL DEFAULT 0;
UPDATE culvert.namespaces n
   SET pruned = r.pruned
  FROM (SELECT namespace_id, max(pruned) AS pruned FROM culvert.rooms GROUP BY namespace_id) r
 WHERE r.namespace_id = n.id;

-- +goose Down

-- Functions refer to the columns, so they are dropped. An older program makes its own again.
-- +goose StatementBegin
DO $$
DECLARE
    functions text := (
        SELECT string_agg(p.oid::regprocedure::text, ', ')
          FROM pg_proc p
         WHERE p.pronamespace = 'culvert'::regnamespace);
BEGIN
    IF functions IS NOT NULL THEN
        EXECUTE 'DROP FUNCTION ' || functions;
    END IF;
END
$$;
-- +goose StatementEnd
ALTER TABLE culvert.namespaces DROP COLUMN pruned;
ALTER TABLE culvert.slices DROP COLUMN counted;
ALTER TABLE culvert.rooms DROP COLUMN newest, ALTER COLUMN name TYPE text COLLATE "default";
ALTER TABLE culvert.clients ALTER COLUMN name TYPE text COLLATE "default";
