-- The clock of the log: where a run of offsets begins, see functions/identity.sql.

-- +goose Up

-- A slice for every clock_slice since clock_at, counted from clock_from. It is faster where
-- slices are shorter than 10 minutes, and never slower again.
ALTER TABLE culvert.log
    ADD COLUMN clock_at    timestamptz NOT NULL DEFAULT '2025-01-01 00:00:00+00',
    ADD COLUMN clock_from  bigint NOT NULL DEFAULT 0,
    ADD COLUMN clock_slice interval NOT NULL DEFAULT '10 minutes';

-- +goose Down

-- Functions refer to the columns. An older program makes its own again.
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
ALTER TABLE culvert.log DROP COLUMN clock_at, DROP COLUMN clock_from, DROP COLUMN clock_slice;
