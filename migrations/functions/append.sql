-- append: the only way into the log.

-- Advisory locks are (1668639862, n): the class spells "culv". n = 1 is the append
-- lock, held to the end of the transaction by whoever moves the counter; 2 keeps
-- instances from pruning at the same time, 3 from ending leases, 4 is for volatile
-- events, 5 for replacing these functions; for 16 to 31 see culvert.emit.

-- carry moves up to 1,000 staged events that have become visible into the log,
-- after offset base, and returns how many there were and how many offsets they
-- took: one with a key seen before takes none. Only carry_all calls it: see staged.sql.
-- alone is the id of one row, to be moved alone.
CREATE OR REPLACE FUNCTION culvert.carry(seen xid8, base bigint, dedup interval, alone bigint DEFAULT NULL, OUT moved integer, OUT stored integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v   culvert.staged[];
    new culvert.staged[];
    now timestamptz := clock_timestamp();
    bad text;
BEGIN
    WITH taken AS (
        DELETE FROM culvert.staged s
         WHERE (s.xid, s.id) IN (
               SELECT t.xid, t.id FROM culvert.staged t
                WHERE t.xid >= seen AND (alone IS NULL OR t.id = alone)
                ORDER BY t.xid, t.id LIMIT 1000)
        RETURNING s.*)
    SELECT array_agg(t::culvert.staged ORDER BY t.xid, t.id) INTO v FROM taken t;
    moved := coalesce(cardinality(v), 0);
    stored := 0;
    IF moved = 0 THEN
        RETURN;
    END IF;

    PERFORM culvert.make_namespace(s.namespace) FROM (SELECT DISTINCT u.namespace FROM unnest(v) u) s;
    INSERT INTO culvert.rooms (namespace_id, name)
    SELECT DISTINCT n.id, r.name
      FROM unnest(v) s JOIN culvert.namespaces n ON n.name = s.namespace, unnest(s.rooms) r(name)
     WHERE NOT EXISTS (SELECT FROM culvert.rooms k WHERE k.namespace_id = n.id AND k.name = r.name)
    ON CONFLICT DO NOTHING;

    -- The first with a key counts; a later one with other content cannot be
    -- refused any more, its transaction is committed.
    SELECT array_agg(s.row ORDER BY (s.row).xid, (s.row).id) FILTER (WHERE s.nth = 1 AND s.hash IS NULL),
           min((s.row).key) FILTER (WHERE (s.row).hash <> coalesce(s.hash, s.first))
      INTO new, bad
      FROM (SELECT t::culvert.staged AS row, k.hash,
                   CASE WHEN t.key IS NULL THEN 1 ELSE row_number() OVER same END AS nth,
                   first_value(t.hash) OVER same AS first
              FROM unnest(v) t
              JOIN culvert.namespaces n ON n.name = t.namespace
              LEFT JOIN culvert.keys k
                ON k.namespace_id = n.id AND k.key = t.key AND k.at > now - coalesce(n.dedup, carry.dedup)
            WINDOW same AS (PARTITION BY t.namespace, t.key ORDER BY t.xid, t.id)) s;
    IF bad IS NOT NULL THEN
        RAISE WARNING 'culvert: an event emitted from SQL was dropped: its key "%" was used with another body', bad;
    END IF;

    INSERT INTO culvert.events ("offset", room_id, at, event, sender, except_, data)
    SELECT base + s.nth, r.id, now, s.event, s.sender, s.except_, s.data
      FROM unnest(new) WITH ORDINALITY
           s (xid, id, namespace, rooms, except_, event, data, sender, key, hash, nth)
      JOIN culvert.namespaces n ON n.name = s.namespace
      JOIN culvert.rooms r ON r.namespace_id = n.id AND r.name = ANY (s.rooms)
     ORDER BY 1, 2;
    INSERT INTO culvert.keys AS k (namespace_id, key, hash, "offset", at)
    SELECT n.id, s.key, s.hash, base + s.nth, now
      FROM unnest(new) WITH ORDINALITY
           s (xid, id, namespace, rooms, except_, event, data, sender, key, hash, nth)
      JOIN culvert.namespaces n ON n.name = s.namespace
     WHERE s.key IS NOT NULL
    ON CONFLICT ON CONSTRAINT keys_pkey DO UPDATE
       SET hash = excluded.hash, "offset" = excluded."offset", at = excluded.at;
    stored := coalesce(cardinality(new), 0);
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
    -- A 201 means durable, also where the database's default is to commit lazily.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM pg_advisory_xact_lock(1668639862, 1);
    SELECT * INTO l FROM culvert.log;
    IF l.started <> pg_postmaster_start_time() THEN
        PERFORM culvert.recognise();
        SELECT * INTO l FROM culvert.log;
    END IF;
    RETURN l;
END
$$;

-- append stores a batch in the transaction it runs in, together with the staged
-- events that have become visible. One row of the arrays is one event in one
-- room; pos numbers the events of the batch from 1. Offsets are base + pos.
--
-- The lock makes commit order offset order: a reader that sees an offset has
-- seen, or will never see, every lower one.
--
-- When a key of the batch is known already, nothing at all is stored; known
-- tells which (indices into the key arrays), the offset of the first use, and
-- whether the content was the same. The caller takes those out and calls again.
--
-- The ids of rooms and namespaces were looked up before this transaction. When
-- generation is not the log's any more, they may be wrong by now: nothing is
-- stored, and the caller looks them up again.
--
-- seen: staged rows of transactions below it were carried by an earlier append.
-- The caller passes the value it got back last (0 at first), so that looking for
-- staged rows does not walk over the remains of those carried before.
CREATE OR REPLACE FUNCTION culvert.append(
    INOUT seen  xid8,
    pos         integer[],
    room        bigint[],
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
    OUT log     text,
    OUT prev    bigint,     -- the head before
    OUT base    bigint,
    OUT head    bigint,     -- the head after
    OUT at      timestamptz,
    OUT moved   integer,    -- staged rows taken along; 1,000 means there may be more
    OUT known   integer[],
    OUT known_offset bigint[],
    OUT known_same   boolean[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    l culvert.log;
    n integer := coalesce(pos[cardinality(pos)], 0);
    xmin xid8;
    stored integer := 0;
BEGIN
    l := culvert.lock_log();
    log := l.id;
    at := clock_timestamp();
    moved := 0;
    SELECT o.last_value INTO prev FROM culvert.offsets o;
    base := prev;
    head := prev;
    IF generation <> l.generation THEN
        generation := l.generation;
        RETURN;
    END IF;

    IF cardinality(key) > 0 THEN
        SELECT array_agg(k.i), array_agg(s."offset"), array_agg(s.hash = k.hash)
          INTO known, known_offset, known_same
          FROM unnest(key_ns, key, key_hash) WITH ORDINALITY AS k (ns, key, hash, i)
          JOIN culvert.keys s ON s.namespace_id = k.ns AND s.key = k.key
          JOIN culvert.namespaces n ON n.id = k.ns
         WHERE s.at > at - coalesce(n.dedup, l.dedup);
        IF known IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;

    IF prev + n + 1000 >= (l.slice + 1)::bigint * 1000000000 THEN
        base := culvert.next_slice();
    END IF;

    -- Taken before the rows are, so that it is not above one they leave behind.
    xmin := pg_snapshot_xmin(pg_current_snapshot());
    IF EXISTS (SELECT FROM culvert.staged s WHERE s.xid >= seen) THEN
        SELECT c.moved, c.stored INTO moved, stored FROM culvert.carry_all(seen, base, l.dedup) c;
        base := base + stored;
    END IF;
    IF moved < 1000 THEN
        seen := xmin;
    END IF;
    IF n + stored = 0 THEN
        RETURN;
    END IF;

    INSERT INTO culvert.events ("offset", room_id, at, is_binary, event, sender, except_, data, reply_until)
    SELECT base + e.pos, e.room, at, e.is_binary, e.event, NULLIF(e.sender, ''), NULLIF(e.except_, '')::text[], e.data,
           at + NULLIF(e.reply_ms, 0) * interval '1 millisecond'
      FROM unnest(pos, room, event, data, is_binary, sender, except_, reply_ms)
           AS e (pos, room, event, data, is_binary, sender, except_, reply_ms);
    IF asks IS NOT NULL THEN
        PERFORM culvert.ask(base, at, asks);
    END IF;
    IF cardinality(key) > 0 THEN
        INSERT INTO culvert.keys AS k (namespace_id, key, hash, "offset", at)
        SELECT e.ns, e.key, e.hash, base + e.pos, at
          FROM unnest(key_ns, key, key_hash, key_pos) AS e (ns, key, hash, pos)
        ON CONFLICT ON CONSTRAINT keys_pkey DO UPDATE
           SET hash = excluded.hash, "offset" = excluded."offset", at = excluded.at;
    END IF;
    head := setval('culvert.offsets', base + n);
    PERFORM pg_notify('culvert', head::text);
END
$$;
