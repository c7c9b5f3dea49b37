-- append: the only way into the log.

-- The append lock is the table culvert.append_lock, locked to the end of the transaction by
-- whoever moves the counter; culvert.volatile_lock is the same for volatile events, and
-- culvert.functions for replacing these functions. Of culvert.turns row 2 keeps instances from pruning
-- at the same time, 3 from ending leases; for 16 to 31 see culvert.emit. None is an advisory
-- lock: any role that may connect could hold those.
--
-- The mode is SHARE UPDATE EXCLUSIVE, which excludes itself. A stronger one would wait for
-- ROW EXCLUSIVE, and that a role with no right on the table gets by PREPARE of an INSERT.
--
-- Every transaction takes its locks in one order, so that no two wait for each other
-- (docs/decisions/020-locks.md says why, and who takes what):
--
--   1. rows 2 and 3 of culvert.turns, and rows of namespaces
--   2. the append lock
--   3. the row of the log, and then the slices: their rows and tables
--   4. rows of clients, by (namespace_id, name COLLATE "C")
--   5. rows of rooms, by (namespace_id, name COLLATE "C")
--   6. rows of leases and memberships: only of clients that are locked already
--   7. rows of keys by (namespace_id, key COLLATE "C"), of asks by offset,
--      of handler_jobs by (handler_id, offset), and then of handlers
--   8. the row of the registry
--
-- Rows of clients and asks that stay are locked FOR NO KEY UPDATE, which foreign keys
-- do not wait for. Whoever only clears up takes the rows nobody holds: SKIP LOCKED.

-- durable has the transaction it runs in commit to the disk, also where the default of
-- the database or role is to commit lazily: what is answered as stored is. A default
-- that only says how far standbys have to be (local, remote_write, remote_apply) stays.
-- It returns true, so that it can stand in a WHERE: (SELECT culvert.durable()).
CREATE OR REPLACE FUNCTION culvert.durable() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN true;
END
$$;

-- known returns which of the keys were used within the window, by their index in the
-- arrays. It is written for one plan and gets no other, a walk along the primary key for each of
-- them: before Postgres has statistics, or after they grew old, it would rather read every key
-- of the namespace for each one. That is why namespace_id + 0 stands here: with it no index
-- that begins with the namespace is of use. And LIMIT, because a LATERAL subquery that has one is
-- looked up for each row: a join may be turned round, and is where the table once was empty.
CREATE OR REPLACE FUNCTION culvert.known(ns integer[], owner text[], key text[], at timestamptz, dedup interval)
RETURNS TABLE (i bigint, hash bytea, "offset" bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
#variable_conflict use_variable
BEGIN
    RETURN QUERY
    SELECT k.i, s.hash, s."offset"
      FROM unnest(ns, owner, key) WITH ORDINALITY AS k (ns, owner, key, i)
     CROSS JOIN LATERAL (
           SELECT u.hash, u."offset", u.at
             FROM culvert.keys u
            WHERE u.key = k.key AND u.owner = k.owner AND u.namespace_id + 0 = k.ns
            LIMIT 1) s
      JOIN culvert.namespaces n ON n.id = k.ns
     WHERE s.at > at - coalesce(n.dedup, dedup);
END
$$;

-- lock_log begins every change of the log: it takes the append lock, to the end of
-- the transaction, and returns the log once it is certain that it is the one it was.
CREATE OR REPLACE FUNCTION culvert.lock_log() RETURNS culvert.log
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    l culvert.log;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'culvert needs READ COMMITTED: an older snapshot would not see the append before it; run  ALTER ROLE % IN DATABASE % SET default_transaction_isolation = ''read committed''',
            quote_ident(current_user), quote_ident(current_database());
    END IF;
    PERFORM culvert.durable();
    LOCK TABLE culvert.append_lock IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT * INTO l FROM culvert.log;
    IF culvert.identified(l.started, l.database, l.self) IS NOT TRUE THEN
        PERFORM culvert.identify();
        SELECT * INTO l FROM culvert.log;
    END IF;
    RETURN l;
END
$$;

-- append stores a batch in the transaction it runs in, together with the staged
-- events that have become visible. One row of the arrays is one event; pos, in others,
-- numbers them from 1. Offsets are base + pos. Where events have several rooms, room is the
-- lowest id of them, others the rest of the ids, and the event's data and exceptions
-- are stored with the first alone, unless brief repeats the data.
--
-- The lock makes commit order offset order: a reader that sees an offset has
-- seen, or will never see, every lower one.
--
-- When a key of the batch is known already, nothing of the batch is stored; known
-- tells which (indices into the key arrays), the offset of the first use, and
-- whether the content was the same. The caller takes those out and calls again. Staged
-- events come first, as one of them may be the first with its key.
--
-- An event from SQL whose transaction had committed before a batch came is below the
-- batch in the log, in each namespace by itself. While more of them are staged than one call moves,
-- nothing of a batch that has events in their namespace is stored: waits has these namespaces.
-- The caller calls again with until as it got it, so that what is staged later
-- is not waited for. In until 0 stands for now.
--
-- The ids of rooms and namespaces were looked up before this transaction. When
-- generation is not the log's any more, they may be wrong by now: nothing is
-- stored, and the caller looks them up again.
--
-- seen: staged rows of transactions visible in it were moved by an earlier append, and those of
-- part up to the id last.
-- The caller passes the values it got back last (1:1:, 0 and 0 at first), so that looking for
-- staged rows does not walk over the remains of those moved before: while any transaction of
-- the server stays open, they cannot be cleared away. Hence a snapshot, not the oldest open one.
CREATE OR REPLACE FUNCTION culvert.append(
    INOUT seen  pg_snapshot,
    INOUT part  xid8,
    INOUT last  bigint,
    room        bigint[],
    others      text[],     -- array literals, "" for none; empty when no event has several rooms
    size        integer[],  -- how long the data is that the others do not have; 0: they have it
    brief       text[],     -- the data, for those that have it; else ""
    event       text[],
    data        text[],
    is_binary   boolean[],
    sender      text[],
    except_     text[],     -- array literals; "" in either for none
    key_ns      integer[],
    key         text[],
    key_hash    bytea[],
    key_pos     integer[],
    INOUT generation bigint,
    reply_ms    integer[],  -- how long a reply is wanted, 0 for none; empty when no event wants one
    asks        json,       -- of the events that want one: see culvert.ask; or NULL
    key_owner   text[],     -- a client's name, or "" for the class of backends and SQL
    spaces      text[],     -- the names of the batch's namespaces
    until       xid8[],     -- for each of them
    move_rows  integer,    -- bounds of what is moved: see move_staged; 0 for nothing
    move_bytes bigint,
    OUT log     text,
    OUT prev    bigint,     -- the head before
    OUT base    bigint,
    OUT head    bigint,     -- the head after
    OUT at      timestamptz,
    OUT moved   integer,    -- staged events taken along
    OUT more    boolean,    -- there may be more of them
    OUT stored  boolean,    -- the batch is in the log
    OUT waits   text[],
    OUT now_    xid8,       -- what "now" was in until
    OUT move_ms double precision, -- how long moving them took
    OUT known   integer[],
    OUT known_offset bigint[],
    OUT known_same   boolean[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    l culvert.log;
    n integer := coalesce(cardinality(room), 0);
    taken pg_snapshot;
    upto xid8;
    from_sql integer := 0;
    few     integer;
    fit     integer;
BEGIN
    l := culvert.lock_log();
    log := l.id;
    at := clock_timestamp();
    moved := 0;
    more := false;
    stored := false;
    move_ms := 0;
    now_ := pg_snapshot_xmax(pg_current_snapshot());
    SELECT o.last_value INTO prev FROM culvert.offsets o;
    base := prev;
    head := prev;
    IF generation <> l.generation THEN
        generation := l.generation;
        RETURN;
    END IF;

    IF prev + n + 2000 >= (l.slice + 1)::bigint * 1000000000 THEN
        base := culvert.next_slice();
    END IF;

    -- Taken before the rows are, so that none they leave behind is visible in it.
    taken := pg_current_snapshot();
    IF culvert.is_staged(seen, part, last) THEN
        more := move_rows = 0;
        IF NOT more THEN
            SELECT c.moved, c.stored, c.more, c.upto, c.part, c.last INTO moved, from_sql, more, upto, part, last
              FROM culvert.move_staged_all(seen, part, last, base, l.dedup, l.carrying, least(move_rows, 1000), move_bytes) c;
            base := base + from_sql;
        END IF;
    END IF;
    IF more THEN
        seen := culvert.seen_up_to(seen, taken, upto);
        FOR try IN 1..2 LOOP
            SELECT array_agg(w.space) INTO waits
              FROM unnest(spaces, until) w (space, until)
             WHERE culvert.is_staged_before(seen, part, last, w.space, CASE w.until WHEN '0' THEN now_ ELSE w.until END);
            EXIT WHEN waits IS NULL OR move_rows = 0 OR try = 2;
            BEGIN
                SELECT c.moved, c.stored INTO few, fit
                  FROM culvert.move_staged_waiting(seen, part, last, waits, base, l.dedup, least(move_rows, 1000), move_bytes) c;
            EXCEPTION -- see move_staged_all: what cannot be moved is set aside when its turn comes
            WHEN unique_violation THEN
                RAISE;
            WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR raise_exception OR data_corrupted THEN
                EXIT;
            END;
            EXIT WHEN few = 0;
            moved := moved + few;
            from_sql := from_sql + fit;
            base := base + fit;
        END LOOP;
    ELSE
        seen := taken;
    END IF;
    move_ms := 1000 * extract(epoch FROM clock_timestamp() - at);
    IF waits IS NULL AND cardinality(key) > 0 THEN
        SELECT array_agg(k.i), array_agg(s."offset"), array_agg(coalesce(s.hash = k.hash, true))
          INTO known, known_offset, known_same
          FROM culvert.known(key_ns, key_owner, key, at, l.dedup) s
          JOIN unnest(key_hash) WITH ORDINALITY AS k (hash, i) ON k.i = s.i;
    END IF;
    IF waits IS NOT NULL OR known IS NOT NULL THEN
        n := 0;
    ELSE
        stored := true;
    END IF;
    IF n + from_sql = 0 THEN
        RETURN;
    END IF;

    IF n > 0 THEN
        INSERT INTO culvert.events ("offset", room_id, at, is_binary, event, sender, except_, data, reply_until)
        SELECT base + e.pos, e.room, at, e.is_binary, e.event, NULLIF(e.sender, ''), NULLIF(e.except_, '')::text[], e.data,
               at + NULLIF(e.reply_ms, 0) * interval '1 millisecond'
          FROM unnest(room, event, data, is_binary, sender, except_, reply_ms) WITH ORDINALITY
               AS e (room, event, data, is_binary, sender, except_, reply_ms, pos);
        IF cardinality(others) > 0 THEN
            INSERT INTO culvert.events ("offset", room_id, at, is_binary, event, sender, except_, data, elsewhere, reply_until)
            SELECT base + e.pos, o.room, at, e.is_binary, e.event, NULLIF(e.sender, ''),
                   CASE WHEN e.size = 0 THEN NULLIF(e.except_, '')::text[] WHEN e.except_ <> '' THEN '{}' END,
                   NULLIF(e.brief, ''), NULLIF(e.size, 0), at + NULLIF(e.reply_ms, 0) * interval '1 millisecond'
              FROM unnest(others, size, brief, event, is_binary, sender, except_, reply_ms) WITH ORDINALITY
                   AS e (others, size, brief, event, is_binary, sender, except_, reply_ms, pos)
             CROSS JOIN LATERAL unnest(e.others::bigint[]) AS o (room)
             WHERE e.others <> '';
        END IF;
        IF asks IS NOT NULL THEN
            PERFORM culvert.ask(base, at, asks);
        END IF;
        IF cardinality(key) > 0 THEN
            INSERT INTO culvert.keys AS k (namespace_id, owner, key, hash, "offset", at)
            SELECT e.ns, e.owner, e.key, e.hash, base + e.pos, at
              FROM unnest(key_ns, key_owner, key, key_hash, key_pos) AS e (ns, owner, key, hash, pos)
             ORDER BY e.ns, e.owner COLLATE "C", e.key COLLATE "C"
            ON CONFLICT ON CONSTRAINT keys_pkey DO UPDATE
               SET hash = excluded.hash, "offset" = excluded."offset", at = excluded.at;
        END IF;
    END IF;
    head := setval('culvert.offsets', base + n);
    PERFORM pg_notify('culvert', head::text);
END
$$;
