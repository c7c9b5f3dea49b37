-- Replies: what an event's emitter asked for, and what came.

-- +goose Up

-- An event that wants replies. Without a count one is expected from each client
-- that was online in its rooms when it was emitted, and from each handler for it
-- (0009), but whoever it was addressed to may reply until its time is over. With
-- a count the first so many win.
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

-- party is who replied: a client's name, U+0001 and a handler's, or "" for a
-- backend without one.
CREATE TABLE culvert.replies (
    "offset"  bigint NOT NULL REFERENCES culvert.asks ON DELETE CASCADE,
    party     text NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_binary boolean NOT NULL,
    data      text NOT NULL,
    PRIMARY KEY ("offset", party)
);

-- ask stores the asks of one append, with the offset its events are counted from.
-- +goose StatementBegin
CREATE FUNCTION culvert.ask(base bigint, at timestamptz, asks json) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO culvert.asks ("offset", namespace_id, sender, rooms, except_, until, expected, wanted)
    SELECT base + a.pos, a.ns, a.sender, a.rooms, a.except_, at + a.ms * interval '1 millisecond', a.expected,
           coalesce(a.count, cardinality(a.expected))
      FROM json_to_recordset(asks)
           AS a (pos integer, ns integer, sender text, rooms text[], except_ text[], ms integer, expected text[], count integer)
$$;
-- +goose StatementEnd

-- online is the clients of a namespace that are connected somewhere now. The one
-- place that knows how this is told. Planned as part of the query it stands in.
-- +goose StatementBegin
CREATE FUNCTION culvert.online(ns integer) RETURNS TABLE (id bigint, name text)
LANGUAGE sql STABLE AS $$
    SELECT c.id, c.name
      FROM culvert.clients c
     WHERE c.namespace_id = ns
       AND EXISTS (SELECT FROM culvert.leases l WHERE l.client_id = c.id AND l.until > statement_timestamp())
$$;
-- +goose StatementEnd

-- inside is the clients online in any of the rooms now.
-- +goose StatementBegin
CREATE FUNCTION culvert.inside(ns integer, rooms text[]) RETURNS TABLE (name text)
LANGUAGE sql STABLE AS $$
    SELECT o.name
      FROM culvert.online(ns) o
     WHERE '*' = ANY (rooms)
    UNION
    SELECT o.name
      FROM culvert.online(ns) o
      JOIN unnest(rooms) r (name) ON starts_with(r.name, '@') AND o.name = substr(r.name, 2)
    UNION
    SELECT o.name
      FROM culvert.rooms r
      JOIN culvert.memberships m ON m.room_id = r.id AND m.until IS NULL
      JOIN culvert.online(ns) o ON o.id = m.client_id
     WHERE r.namespace_id = ns AND r.name = ANY (rooms)
$$;
-- +goose StatementEnd

-- reply stores one reply, unless it may not be, and stages the event that tells
-- the emitter, both or neither. Nobody can read the room a backend without a
-- client is told in: instances look there for who waits. result is "stored",
-- "again" (the party replied before), "closed" (too late, or enough have) or
-- "unknown".
-- +goose StatementBegin
CREATE FUNCTION culvert.reply(ask bigint, party text, sender text, data text, is_binary boolean, event_data text) RETURNS text
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    a  culvert.asks;
    ns text;
BEGIN
    SELECT k.* INTO a FROM culvert.asks k WHERE k."offset" = ask FOR UPDATE;
    SELECT n.name INTO ns FROM culvert.namespaces n WHERE n.id = a.namespace_id AND n.name IS NOT NULL;
    IF NOT FOUND THEN
        RETURN 'unknown';
    END IF;
    IF EXISTS (SELECT FROM culvert.replies r WHERE r."offset" = ask AND r.party = party) THEN
        RETURN 'again';
    END IF;
    IF a.until <= clock_timestamp() OR a.expected IS NULL AND a.counted >= a.wanted THEN
        RETURN 'closed';
    END IF;
    INSERT INTO culvert.replies ("offset", party, is_binary, data) VALUES (ask, party, is_binary, data);
    UPDATE culvert.asks k SET counted = k.counted + 1
     WHERE k."offset" = ask AND (a.expected IS NULL OR party = ANY (a.expected));
    INSERT INTO culvert.staged (namespace, rooms, event, data, sender)
    VALUES (ns, ARRAY[coalesce('@' || a.sender, E'\x01replies')], 'culvert:reply', event_data, sender);
    RETURN 'stored';
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION culvert.ask, culvert.online, culvert.inside, culvert.reply FROM PUBLIC;

-- +goose Down
DROP FUNCTION culvert.reply, culvert.inside, culvert.online, culvert.ask;
DROP TABLE culvert.replies, culvert.asks;
