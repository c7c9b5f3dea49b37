-- Runs: which offsets this log has given out, and which a restore or a failover lost.

-- +goose Up

-- A run is the range of positions that the log gave out between two starts of Postgres,
-- from first up to last. A position between two runs was never given out, or was given
-- out by a server whose data is lost.
CREATE TABLE culvert.runs (
    first bigint PRIMARY KEY, -- the position before its first offset
    last  bigint,             -- NULL: the open one
    began timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (last >= first)
);
CREATE UNIQUE INDEX runs_open ON culvert.runs ((last IS NULL)) WHERE last IS NULL;
INSERT INTO culvert.runs (first) SELECT 0 FROM culvert.log;

-- The oid of the table culvert.log itself: pg_restore makes another table.
ALTER TABLE culvert.log ADD COLUMN self oid NOT NULL DEFAULT 0;
UPDATE culvert.log SET self = tableoid;
-- Managed servers do not show the timeline, and a restored volume keeps it.
ALTER TABLE culvert.log DROP COLUMN timeline;

-- +goose Down
DROP TABLE culvert.runs;
ALTER TABLE culvert.log DROP COLUMN self;
ALTER TABLE culvert.log ADD COLUMN timeline text NOT NULL DEFAULT '';
