-- +goose Up

-- The log and its position when the event was emitted: every change of members that
-- was answered before is at or below that position.
ALTER TABLE culvert.volatile ADD COLUMN log text NOT NULL DEFAULT '';
ALTER TABLE culvert.volatile ADD COLUMN "position" bigint NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE culvert.volatile DROP COLUMN "position";
ALTER TABLE culvert.volatile DROP COLUMN log;
