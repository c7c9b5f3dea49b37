-- Culvert locks only its own tables and rows. Advisory locks belong to nobody: any role that
-- may connect could hold them and so stop all emits.

-- +goose Up

-- These two are locked as a whole (see culvert.lock_log and culvert.publish_volatile) and have no
-- rows, so that locks are not written to the disk and no dead rows slow them down.
CREATE TABLE culvert.append_lock ();
CREATE TABLE culvert.volatile_lock ();
-- Work that need not wait locks a row of this table: row 2 to prune and sweep, 3 to end
-- leases, 16 to 31 to notify (see culvert.emit). The rows never change.
CREATE TABLE culvert.turns (n integer PRIMARY KEY);
INSERT INTO culvert.turns SELECT n FROM generate_series(2, 31) n WHERE n IN (2, 3) OR n >= 16;

REVOKE ALL ON culvert.append_lock, culvert.volatile_lock, culvert.turns FROM PUBLIC;

-- +goose Down

-- Functions refer to the tables, so they are dropped. An older program makes its own again.
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
DROP TABLE culvert.append_lock, culvert.volatile_lock, culvert.turns;
