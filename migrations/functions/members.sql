-- Members: who is in which room, as positions of the log.

-- move lets clients join and leave rooms and forgets clients, one change after the
-- other in the order of the arrays. A change that has an effect takes an
-- offset of its own: an entry of the log in a room that no client can name. By this entry
-- every instance sees the change at its place among the events.
--
-- holds[i] is the offset from which change i holds. If there was nothing to do, it is the offset
-- of the earlier change; it is 0 for an unknown client or room. It is -1 for a join
-- after which the client would be in more than max_rooms[i] rooms, or would have more than ten times as
-- many membership intervals, with those of rooms it left that are still kept (max_rooms 0: any number).
-- moved[i] says whether change i was entered into the log.
--
-- own[i] says that a client joins by its own token. Such a membership holds while the
-- client's token allows the room. A membership that a backend makes replaces it
-- from then on, as a join of its own.
--
-- If generation is not the log's any more, ns may be wrong: nothing is changed,
-- as in append.
CREATE OR REPLACE FUNCTION culvert.move(
    op        text[],    -- join, leave or forget
    ns        integer[],
    client    text[],
    room      text[],
    max_rooms integer[],
    own       boolean[],
    INOUT generation bigint,
    OUT log   text,
    OUT prev  bigint,
    OUT head  bigint,
    OUT at    timestamptz,
    OUT holds bigint[],
    OUT moved    boolean[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    l culvert.log;
    c bigint;
    r bigint;
    p bigint;
    held  boolean; -- by the client's own token
    known bigint[]; -- clients of the batch that are stored
    told boolean := false;
BEGIN
    l := culvert.lock_log();
    log := l.id;
    at := clock_timestamp();
    SELECT o.last_value INTO prev FROM culvert.offsets o;
    head := prev;
    IF generation <> l.generation THEN
        generation := l.generation;
        RETURN;
    END IF;
    IF prev + cardinality(op) >= (l.slice + 1)::bigint * 1000000000 THEN
        head := culvert.next_slice();
    END IF;
    -- All rows that others may hold are locked here, in the one order (see append), because the
    -- changes come in another order. First come the clients that this call stores or forgets. A client
    -- that is stored already is locked only where rooms have presence: if a change and a lease come
    -- at the same time, the second must see the first.
    SELECT array_agg(k.id) INTO known
      FROM (SELECT DISTINCT u.ns, u.client FROM unnest(ns, client) u (ns, client)) w
      JOIN culvert.clients k ON k.namespace_id = w.ns AND k.name = w.client;
    INSERT INTO culvert.clients AS k (namespace_id, name, cursor)
    SELECT DISTINCT w.ns, w.client COLLATE "C", head
      FROM unnest(op, ns, client) w (op, ns, client)
      LEFT JOIN culvert.clients s ON s.namespace_id = w.ns AND s.name = w.client AND s.id = ANY (known)
     WHERE CASE WHEN s.id IS NULL THEN w.op = 'join'
           ELSE w.op = 'forget' OR EXISTS (SELECT FROM culvert.namespaces n WHERE n.id = w.ns AND n.presence IS NOT NULL) END
     ORDER BY 1, 2
    ON CONFLICT ON CONSTRAINT clients_namespace_id_name_key DO UPDATE SET seen_at = excluded.seen_at WHERE false; -- only locked
    -- Then the rooms.
    INSERT INTO culvert.rooms (namespace_id, name)
    SELECT DISTINCT w.ns, w.room COLLATE "C"
      FROM (SELECT u.ns, u.room FROM unnest(op, ns, room) u (op, ns, room) WHERE u.op = 'join'
            UNION ALL
            SELECT u.ns, E'\x01members' FROM unnest(ns) u (ns)) w
     WHERE NOT EXISTS (SELECT FROM culvert.rooms s WHERE s.namespace_id = w.ns AND s.name = w.room)
     ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    FOR i IN 1..cardinality(op) LOOP
        holds[i] := 0;
        moved[i] := false;
        SELECT k.id INTO c FROM culvert.clients k WHERE k.namespace_id = ns[i] AND k.name = client[i];
        IF op[i] = 'join' THEN
            IF c IS NULL THEN -- forgotten a moment ago
                INSERT INTO culvert.clients AS k (namespace_id, name, cursor) VALUES (ns[i], client[i], head) RETURNING k.id INTO c;
            END IF;
            IF c = ANY (known) IS NOT TRUE THEN
                known := known || c;
            END IF;
            r := culvert.room_id(ns[i], room[i]);
        ELSIF c = ANY (known) IS NOT TRUE THEN -- not stored, or stored meanwhile by another transaction
            CONTINUE;
        ELSE
            SELECT k.id INTO r FROM culvert.rooms k WHERE k.namespace_id = ns[i] AND k.name = room[i];
        END IF;

        SELECT m.since, m.own INTO p, held FROM culvert.memberships m WHERE m.client_id = c AND m.room_id = r AND m.until IS NULL;
        -- This comes before the change, so that it finds the rooms of a client that is to be forgotten.
        IF op[i] = 'forget' OR (op[i] = 'leave' AND p IS NOT NULL) THEN
            told := culvert.announce_move(c, r, 'culvert:leave') OR told;
        END IF;
        CASE op[i]
        WHEN 'join' THEN
            IF p IS NOT NULL AND (own[i] OR NOT held) THEN
                holds[i] := p;
                CONTINUE;
            END IF;
            -- Every read of the client also looks at the rooms it left, until retention or its
            -- acknowledgements have passed them. So intervals are bounded, too: ten for each room it may be in.
            IF p IS NULL AND max_rooms[i] > 0 AND (
               SELECT count(*) FILTER (WHERE m.until IS NULL) >= max_rooms[i] OR count(*) >= 10 * max_rooms[i]
                 FROM culvert.memberships m
                WHERE m.client_id = c) THEN
                holds[i] := -1;
                CONTINUE;
            END IF;
            UPDATE culvert.memberships m SET until = head + 1 WHERE m.client_id = c AND m.room_id = r AND m.until IS NULL;
            INSERT INTO culvert.memberships (client_id, room_id, since, own) VALUES (c, r, head + 1, own[i]);
            IF p IS NULL THEN
                told := culvert.announce_move(c, r, 'culvert:join') OR told;
            END IF;
        WHEN 'leave' THEN
            IF p IS NULL THEN
                SELECT coalesce(max(m.until), head) INTO p FROM culvert.memberships m WHERE m.client_id = c AND m.room_id = r;
                holds[i] := p;
                CONTINUE;
            END IF;
            UPDATE culvert.memberships m SET until = head + 1
             WHERE m.client_id = c AND m.room_id = r AND m.until IS NULL;
        WHEN 'forget' THEN
            DELETE FROM culvert.clients k WHERE k.id = c;
        END CASE;

        head := head + 1;
        holds[i] := head;
        moved[i] := true;
        INSERT INTO culvert.events ("offset", room_id, at, event, data)
        VALUES (head, culvert.room_id(ns[i], E'\x01members'), at, 'culvert:' || op[i],
                '{"client":' || to_json(client[i])::text || ',"room":' || to_json(room[i])::text
                || CASE WHEN own[i] THEN ',"own":true}' ELSE '}' END);
    END LOOP;
    IF head > prev AND true = ANY (moved) THEN
        PERFORM setval('culvert.offsets', head);
        PERFORM pg_notify('culvert', head::text);
    END IF;
    IF told THEN
        PERFORM pg_notify('culvert', 'staged');
    END IF;
END
$$;

-- announce_move tells a room with presence (see culvert.announce) that an online client
-- joins or leaves it; without a room, all rooms that the client is in. It returns whether any room was told.
CREATE OR REPLACE FUNCTION culvert.announce_move(client bigint, room bigint, event text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO culvert.staged (namespace, rooms, event, data)
    SELECT n.name, ARRAY[r.name], event, '{"client":' || to_json(c.name)::text || '}'
      FROM culvert.clients c
      JOIN culvert.namespaces n ON n.id = c.namespace_id AND n.presence IS NOT NULL
      JOIN culvert.memberships m ON m.client_id = c.id AND m.until IS NULL AND (room IS NULL OR m.room_id = room)
      JOIN culvert.rooms r ON r.id = m.room_id AND culvert.matches(n.presence, r.name)
     WHERE c.id = client AND c.online;
    RETURN FOUND;
END
$$;

-- room_id returns the id of a room, and makes the room if there is none.
CREATE OR REPLACE FUNCTION culvert.room_id(ns integer, name text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    id bigint;
BEGIN
    SELECT r.id INTO id FROM culvert.rooms r WHERE r.namespace_id = ns AND r.name = name;
    IF id IS NULL THEN
        INSERT INTO culvert.rooms (namespace_id, name) VALUES (ns, name) ON CONFLICT DO NOTHING;
        SELECT r.id INTO id FROM culvert.rooms r WHERE r.namespace_id = ns AND r.name = name;
    END IF;
    RETURN id;
END
$$;

-- claim_rooms makes the missing rooms for a client (NULL: for a
-- backend), unless the client would then have made more than `most` rooms. It returns how many it
-- made, or -1 if it made none for that reason.
CREATE OR REPLACE FUNCTION culvert.claim_rooms(ids bigint, ns integer, client text, names text[], most integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    missing text[];
    made    integer;
BEGIN
    PERFORM culvert.check_ids(ids);
    SELECT array_agg(DISTINCT w.name COLLATE "C") INTO missing
      FROM unnest(names) w (name)
      LEFT JOIN LATERAL ( -- has LIMIT, see culvert.known: a join may read all rooms of the namespace
           SELECT true AS there FROM culvert.rooms r WHERE r.namespace_id = ns AND r.name = w.name LIMIT 1) t ON true
     WHERE t.there IS NULL;
    IF missing IS NULL THEN
        RETURN 0;
    END IF;
    IF client IS NOT NULL AND most > 0 THEN
        SELECT count(*) INTO made
          FROM (SELECT FROM culvert.rooms r WHERE r.namespace_id = ns AND r.maker = client LIMIT most) r;
        IF made + cardinality(missing) > most THEN
            RETURN -1;
        END IF;
    END IF;
    INSERT INTO culvert.rooms (namespace_id, name, maker)
    SELECT ns, w.name, client
      FROM unnest(missing) w (name)
     ORDER BY w.name COLLATE "C"
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END
$$;
