-- The clock of the log: where a run of offsets begins, see functions/identity.sql.

-- +goose Up

-- The clock shows clock_from and one slice more for every clock_slice since clock_at. It goes
-- faster where slices are shorter than 10 minutes, and never slower again.
ALTER TABLE culvert.log
    ADD COLUMN clock_at    timestamptz NOT NULL DEFAULT '2025-01-01 00:00:00+00',
    ADD COLUMN clock_from  bigint NOT NULL DEFAULT 0,
    ADD COLUMN clock_slice interval NOT NULL DEFAULT '10 minutes';

-- +goose Down

ALTER TABLE culvert.log DROP COLUMN clock_at, DROP COLUMN clock_from, DROP COLUMN clock_slice;
