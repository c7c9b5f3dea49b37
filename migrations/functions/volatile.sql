-- Volatile events: how they reach the other instances.

-- publish_volatile passes volatile events to the other instances. The lock makes the order of
-- ids the order of commits, so that a reader that continues after an id misses none;
-- its holder does not wait for a disk. Lists of rooms are array literals,
-- "" for none.
--
-- It returns the log and its position, which is at or above every change of members that was
-- answered before the call, on any instance. An instance delivers the events once it
-- has followed the log to that position. The position (the counter) may be ahead of what is committed.
CREATE OR REPLACE FUNCTION culvert.publish_volatile(instance text, namespace text[], rooms text[], except_ text[],
                              event text[], data text[], is_binary boolean[], sender text[],
                              OUT log text, OUT "position" bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    LOCK TABLE culvert.volatile_lock IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT l.id, o.last_value INTO log, "position" FROM culvert.log l, culvert.offsets o;
    INSERT INTO culvert.volatile (id, at, instance, log, "position", namespace, rooms, except_, event, data, is_binary, sender)
    SELECT nextval('culvert.volatile_ids'), clock_timestamp(), instance, log, "position", v.namespace, NULLIF(v.rooms, '')::text[],
           NULLIF(v.except_, '')::text[], v.event, v.data, v.is_binary, NULLIF(v.sender, '')
      FROM unnest(namespace, rooms, except_, event, data, is_binary, sender)
           AS v (namespace, rooms, except_, event, data, is_binary, sender);
    DELETE FROM culvert.volatile v WHERE v.at < clock_timestamp() - interval '10 seconds';
    PERFORM pg_notify('culvert', 'volatile');
END
$$;
