-- A membership that a client made by its own token (own) holds while its token allows the room.
-- Older memberships count as made by a backend: who made them is unknown, and a membership
-- that a backend gave must not be lost.

-- +goose Up
ALTER TABLE culvert.memberships ADD COLUMN own boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE culvert.memberships DROP COLUMN own;
