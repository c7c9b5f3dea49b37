-- Volatile events: how they reach the other instances.

-- +goose Up

-- The rows do not survive a crash, and need not. They live for seconds.
CREATE UNLOGGED TABLE culvert.volatile (
    id        bigint PRIMARY KEY,
    at        timestamptz NOT NULL,
    instance  text NOT NULL,  -- the one that has delivered it to its own clients already
    namespace text NOT NULL,
    rooms     text[],         -- NULL: a signal to the client in sender
    except_   text[],
    event     text NOT NULL,
    data      text NOT NULL,
    is_binary boolean NOT NULL,
    sender    text
);
CREATE INDEX volatile_at ON culvert.volatile (at);
CREATE SEQUENCE culvert.volatile_ids;

-- +goose Down
DROP TABLE culvert.volatile;
DROP SEQUENCE culvert.volatile_ids;
