-- What Culvert locks is its own. Advisory locks belong to nobody: any role that may
-- connect could hold them, and stop all emits with that.

-- +goose Up

-- These two are locked as a whole (see culvert.lock_log and culvert.fling) and have no rows,
-- so that no lock is written to the disk and no dead row ever slows a lock down.
CREATE TABLE culvert.append_lock ();
CREATE TABLE culvert.volatile_lock ();
-- Rows of this one are locked by whoever does not wait: 2 to prune and sweep, 3 to end
-- leases, 16 to 31 to notify (see culvert.emit). They never change.
CREATE TABLE culvert.turns (n integer PRIMARY KEY);
INSERT INTO culvert.turns SELECT n FROM generate_series(2, 31) n WHERE n IN (2, 3) OR n >= 16;

REVOKE ALL ON culvert.append_lock, culvert.volatile_lock, culvert.turns FROM PUBLIC;

-- +goose Down
DROP TABLE culvert.append_lock, culvert.volatile_lock, culvert.turns;
