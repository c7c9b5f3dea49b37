-- Which client's token made a room, so that the rooms a client makes can be bounded. Those
-- from before, of backends and of SQL are nobody's.

-- +goose Up
ALTER TABLE culvert.rooms ADD COLUMN maker text COLLATE "C";
CREATE INDEX rooms_made ON culvert.rooms (namespace_id, maker) WHERE maker IS NOT NULL;

-- +goose Down
ALTER TABLE culvert.rooms DROP COLUMN maker;
