-- Replies: which replies an event asks for, and which came.

-- +goose Up

-- An event that asks for replies. Without a count, one is expected from each client
-- that was online in its rooms when it was emitted, and from each handler for it
-- (0009); but all receivers may reply until its time is over. With
-- a count, only the first `count` replies are taken.
CREATE TABLE culvert.asks (
    "offset"     bigint PRIMARY KEY,
    namespace_id integer NOT NULL REFERENCES culvert.namespaces ON DELETE CASCADE,
    sender       text,             -- the client that asks; NULL: a backend without one
    rooms        text[] NOT NULL,
    except_      text[],
    until        timestamptz NOT NULL,
    expected     text[],           -- parties; NULL: any
    wanted       integer NOT NULL,
    counted      integer NOT NULL DEFAULT 0 -- replies that count towards wanted
);
CREATE INDEX asks_until ON culvert.asks (until);

-- party is who replied: the name of a client, U+0001 and the name of a handler, or "" for
-- a backend that acts for no client.
CREATE TABLE culvert.replies (
    "offset"  bigint NOT NULL REFERENCES culvert.asks ON DELETE CASCADE,
    party     text NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_binary boolean NOT NULL,
    data      text NOT NULL,
    PRIMARY KEY ("offset", party)
);

-- +goose Down
DROP TABLE culvert.replies, culvert.asks;
