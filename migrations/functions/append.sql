-- append: how events get into the log. Changes of members get there by culvert.move.

-- The append lock is the table culvert.append_lock: every transaction that moves the counter
-- locks it to its end. culvert.volatile_lock is the same for volatile events, and
-- culvert.functions for replacing these functions. Row 2 of culvert.turns keeps instances from
-- pruning at the same time, row 3 from ending leases; for rows 16 to 31 see culvert.emit. None of
-- these is an advisory lock: any role that may connect could hold one.
--
-- The mode is SHARE UPDATE EXCLUSIVE, which conflicts with itself. A stronger mode would wait for
-- ROW EXCLUSIVE, which a role without any right on the table can get by PREPARE of an INSERT.
--
-- Every transaction takes its locks in one order, so that no two wait for each other
-- (docs/decisions/020-locks.md has the reasons and lists who takes what):
--
--   1. rows 2 and 3 of culvert.turns, and rows of namespaces
--   2. the append lock
--   3. the row of the log, and then the slices: their rows and tables
--   4. rows of clients, by (namespace_id, name COLLATE "C")
--   5. rows of rooms, by (namespace_id, name COLLATE "C")
--   6. rows of leases and memberships: only of clients that are locked already
--   7. rows of keys by (namespace_id, owner, key) COLLATE "C", of asks by offset,
--      of handler_jobs by (handler_id, offset), and then of handlers
--   8. the row of the registry
--
-- A transaction that appends batches of several instances begins with 7 again for each of them, and takes rows of
-- offers at the end: see offers.sql.
--
-- Rows of clients and asks that are not deleted are locked FOR NO KEY UPDATE, so that checks of
-- foreign keys do not wait for them. Clean-up takes only rows that nobody holds: SKIP LOCKED.

-- durable makes the current transaction commit to the disk even if synchronous_commit is
-- off by default: what is answered as stored must be stored. The values that only
-- say how far standbys must be (local, remote_write, remote_apply) are kept.
-- It returns true, so that it can be used in a WHERE: (SELECT culvert.durable()).
CREATE OR REPLACE FUNCTION culvert.durable() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN true;
END
$$;

-- known returns which of the keys were used within the dedup window, by their index in the
-- arrays. It is written for exactly one plan: a look-up in the primary key for each key.
-- Without statistics, or with old ones, Postgres would otherwise read every key
-- of the namespace for each one. namespace_id + 0 prevents the use of an index
-- that begins with the namespace. LIMIT makes Postgres run the LATERAL subquery
-- for each row: it may reverse a plain join, and does so if the statistics say that the table is empty.
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

-- lock_log begins every change of the log: it takes the append lock until the end of
-- the transaction, begins a new run if the server was restarted or restored, and returns the
-- row of the log.
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

-- append stores a batch in the current transaction, together with the staged
-- events that have become visible. Element i of the arrays is event i; key_pos has such
-- numbers, which begin with 1. Event i has the offset base + i. For an event with several rooms, room is
-- the lowest of their ids, others has the rest, and the event's data and exceptions
-- are stored only in the row of room, unless brief repeats the data.
--
-- The append lock makes the order of commits the order of offsets: a reader that sees an
-- offset has seen, or will never see, every lower one.
--
-- When a key of the batch was used before, nothing of the batch is stored. known
-- has the indices of such keys in the key arrays, known_offset the offsets of their first use, and
-- known_same whether the content was the same. The caller removes these events and calls again. Staged
-- events are moved first, because one of them may be the first with its key.
--
-- In each namespace, an event from SQL whose transaction had committed before a batch came is
-- below the batch in the log. While more such events are staged than one call moves,
-- nothing of a batch with events in their namespace is stored, and waits has these namespaces.
-- The caller calls again with the same until (it got the value as now_), so that it
-- does not wait for what is staged later. In until, 0 stands for now.
--
-- The ids of rooms and namespaces were looked up before this transaction. If
-- generation is not the log's any more, they may be wrong by now: nothing is
-- stored, and the caller looks them up again.
--
-- Earlier appends have moved the staged rows of all transactions that are visible in the snapshot
-- seen, and those of the transaction part up to the id last.
-- The caller passes the values of its last call (1:1:, 0 and 0 at first), so that the search for
-- staged rows does not scan the remains of rows that were moved: Postgres cannot remove these
-- while any transaction of the server stays open. That is why seen is a snapshot and not the
-- oldest open transaction.
CREATE OR REPLACE FUNCTION culvert.append(
    INOUT seen  pg_snapshot,
    INOUT part  xid8,
    INOUT last  bigint,
    room        bigint[],
    others      text[],     -- array literals, "" for none; empty when no event has several rooms
    size        integer[],  -- length of the data if the rows of others do not have it; 0: they have it
    brief       text[],     -- the data if the rows of others have it; else ""
    event       text[],
    data        text[],
    is_binary   boolean[],
    sender      text[],
    except_     text[],     -- array literals; "" in sender or except_ for none
    key_ns      integer[],
    key         text[],
    key_hash    bytea[],
    key_pos     integer[],
    INOUT generation bigint,
    reply_ms    integer[],  -- how long replies are taken, 0 for no ask; empty when no event asks
    asks        json,       -- the asks: see culvert.ask; or NULL
    key_owner   text[],     -- a client's name, or "" for the class of backends and SQL
    spaces      text[],     -- the names of the batch's namespaces
    until       xid8[],     -- for each of these namespaces
    move_rows  integer,    -- bounds of what is moved, see move_staged; 0 moves nothing
    move_bytes bigint,
    OUT log     text,
    OUT prev    bigint,     -- the head before
    OUT base    bigint,
    OUT head    bigint,     -- the head after
    OUT at      timestamptz,
    OUT moved   integer,    -- how many staged events were moved
    OUT more    boolean,    -- more may be staged
    OUT stored  boolean,    -- the batch is in the log
    OUT waits   text[],
    OUT now_    xid8,       -- the value for which 0 stands in until
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

    -- The snapshot is taken before rows are moved, so that no transaction is visible in it whose rows this call misses.
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
