-- The client whose token made a room, so that the number of rooms that a client makes can be
-- bounded. NULL for older rooms and for rooms made by backends and by SQL.

-- +goose Up
ALTER TABLE culvert.rooms ADD COLUMN maker text COLLATE "C";
CREATE INDEX rooms_made ON culvert.rooms (namespace_id, maker) WHERE maker IS NOT NULL;

-- +goose Down
ALTER TABLE culvert.rooms DROP COLUMN maker;
