-- A membership that a client made by its own token holds while its token allows the room.
-- Those from before count as made by a backend: nobody knows who made them, and what a
-- backend gave must not be lost.

-- +goose Up
ALTER TABLE culvert.memberships ADD COLUMN own boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE culvert.memberships DROP COLUMN own;
