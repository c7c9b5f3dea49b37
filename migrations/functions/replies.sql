-- Replies: which replies an event asks for, and which came.

-- ask stores the asks of one append, and who is expected to reply to them. base is the offset
-- from which the events of the append are counted.
CREATE OR REPLACE FUNCTION culvert.ask(base bigint, at timestamptz, asks json) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO culvert.audiences ("offset", namespace_id, until, parties)
    SELECT base + u.pos, u.ns, at + u.ms * interval '1 millisecond', coalesce(u.parties, '{}')
      FROM json_to_recordset(asks -> 'audiences') AS u (pos integer, ns integer, ms integer, parties text[]);
    INSERT INTO culvert.asks ("offset", namespace_id, sender, rooms, except_, until, audience, wanted)
    SELECT base + a.pos, a.ns, a.sender, a.rooms, a.except_, at + a.ms * interval '1 millisecond', base + a.audience, a.wanted
      FROM json_to_recordset(asks -> 'asks')
           AS a (pos integer, ns integer, sender text, rooms text[], except_ text[], ms integer, audience integer, wanted integer);
END;

-- reply stores one reply if that is allowed, and stages the event culvert:reply for the
-- emitter, both or neither. A backend that acts for no client gets the event in a hidden room
-- that nobody can read; instances watch it for waiting emits. The result is "stored",
-- "again" (the party has replied before), "closed" (too late, or enough replies came) or
-- "unknown" (there is no such ask).
CREATE OR REPLACE FUNCTION culvert.reply(ask bigint, party text, sender text, data text, is_binary boolean, event_data text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    a  culvert.asks;
    ns text;
BEGIN
    PERFORM culvert.durable();
    SELECT k.* INTO a FROM culvert.asks k WHERE k."offset" = ask FOR NO KEY UPDATE;
    SELECT n.name INTO ns FROM culvert.namespaces n WHERE n.id = a.namespace_id AND n.name IS NOT NULL;
    IF NOT FOUND THEN
        RETURN 'unknown';
    END IF;
    IF EXISTS (SELECT FROM culvert.replies r WHERE r."offset" = ask AND r.party = party) THEN
        RETURN 'again';
    END IF;
    IF a.until <= clock_timestamp() OR a.audience IS NULL AND a.expected IS NULL AND a.counted >= a.wanted THEN
        RETURN 'closed';
    END IF;
    INSERT INTO culvert.replies ("offset", party, is_binary, data) VALUES (ask, party, is_binary, data);
    UPDATE culvert.asks k SET counted = k.counted + 1
     WHERE k."offset" = ask
       AND CASE WHEN a.audience IS NULL THEN a.expected IS NULL OR party = ANY (a.expected)
           ELSE EXISTS (SELECT FROM culvert.audiences u WHERE u."offset" = a.audience AND party = ANY (u.parties)) END;
    INSERT INTO culvert.staged (namespace, rooms, event, data, sender)
    VALUES (ns, ARRAY[coalesce('@' || a.sender, E'\x01replies')], 'culvert:reply', event_data, sender);
    RETURN 'stored';
END
$$;

-- expected returns the parties that are expected to reply to an event whose emitter
-- gives no count.
CREATE OR REPLACE FUNCTION culvert.expected(ns integer, event text, rooms text[], except_ text[]) RETURNS text[]
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(array_agg(p.party), '{}')
      FROM ((SELECT i.name AS party FROM culvert.online_in(ns, rooms) i
             EXCEPT
             SELECT i.name FROM culvert.online_in(ns, except_) i)
            UNION ALL
            SELECT E'\x01' || h.name
              FROM culvert.handlers h
             WHERE h.namespace_id = ns AND h.answers AND h.live_until > statement_timestamp()
               AND culvert.handles(h.pattern, event)) p;
END;
