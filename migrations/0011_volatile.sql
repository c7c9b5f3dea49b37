-- Volatile events: how they get from one instance to the others.

-- +goose Up

-- Nothing of it survives a crash, and nothing needs to. Rows live for seconds.
CREATE UNLOGGED TABLE culvert.volatile (
    id        bigint PRIMARY KEY,
    at        timestamptz NOT NULL,
    instance  text NOT NULL,  -- that delivered it to its own clients already
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

-- fling hands volatile events to the other instances. The lock makes the order of
-- ids the order of commits, so that a reader that goes on after an id misses none;
-- no one waits for a disk while it is held. Array literals stand for lists of rooms;
-- "" for none.
-- +goose StatementBegin
CREATE FUNCTION culvert.fling(instance text, namespace text[], rooms text[], except_ text[],
                              event text[], data text[], is_binary boolean[], sender text[]) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock(1668639862, 4);
    INSERT INTO culvert.volatile (id, at, instance, namespace, rooms, except_, event, data, is_binary, sender)
    SELECT nextval('culvert.volatile_ids'), clock_timestamp(), instance, v.namespace, NULLIF(v.rooms, '')::text[],
           NULLIF(v.except_, '')::text[], v.event, v.data, v.is_binary, NULLIF(v.sender, '')
      FROM unnest(namespace, rooms, except_, event, data, is_binary, sender)
           AS v (namespace, rooms, except_, event, data, is_binary, sender);
    DELETE FROM culvert.volatile v WHERE v.at < clock_timestamp() - interval '10 seconds';
    PERFORM pg_notify('culvert', 'volatile');
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION culvert.fling FROM PUBLIC;

-- +goose Down
DROP FUNCTION culvert.fling;
DROP TABLE culvert.volatile;
DROP SEQUENCE culvert.volatile_ids;
