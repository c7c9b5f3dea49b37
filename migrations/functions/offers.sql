-- Offers: how the batches of several instances get into the log with one commit.
--
-- An instance that cannot have the append lock at once offers its batch: it commits the arguments of
-- culvert.append as a row of culvert.offers, which is UNLOGGED, so that this commit does not wait for
-- the disk. Then it waits for the lock. Whoever has the lock appends its own batch and those that are offered,
-- each by culvert.append, in one transaction: calls of culvert.append that follow one another under one lock
-- store the same as if each had its own transaction. Results are left in the rows.
--
-- Only an owner depends on its row, and it depends on nobody: what nobody has appended when it has the lock, it
-- appends itself. Rows are changed and deleted only by the holder of the lock, with two exceptions: an owner
-- deletes its row when it has a result or is given up (withdrawn), and retention deletes what is past its time.
-- A holder locks rows before it appends them, so that none disappears meanwhile.
--
-- Locks: a holder takes rows of offers last, with SKIP LOCKED. Between two offers the order of locks begins
-- again with keys and asks. That is safe: who waits for a row of keys or asks has the append lock, or holds
-- nothing that an append takes (culvert.reply, on an ask that is in the log already). Staged events, whose rooms
-- come before keys, are moved only with the holder's own batch, which is first; and slices are opened only with it.

-- waiting_offers returns how many offers wait, up to most. It looks at those of the last two seconds, so that
-- it does not scan the remains of older ones, which Postgres cannot remove while an old snapshot is open. An
-- older offer is left to its owner.
CREATE OR REPLACE FUNCTION culvert.waiting_offers(most integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    now   timestamptz := clock_timestamp();
    since timestamptz := now - interval '2 seconds';
BEGIN
    RETURN (SELECT count(*)
              FROM (SELECT FROM culvert.offers w
                     WHERE w.at > since AND w.until > now AND w.waits
                     LIMIT most) s);
END
$$;

-- take_offers locks the offers that wait, and returns them in the order in which they came.
CREATE OR REPLACE FUNCTION culvert.take_offers() RETURNS SETOF culvert.offers
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    now   timestamptz := clock_timestamp();
    since timestamptz := now - interval '2 seconds'; -- see waiting_offers
BEGIN
    RETURN QUERY
    SELECT * FROM culvert.offers w
     WHERE w.at > since AND w.until > now AND w.waits
     ORDER BY w.at, w.id
       FOR UPDATE SKIP LOCKED;
END
$$;

-- answer_offer leaves the result of an offer in its row; a result without a log means that Postgres refused it.
CREATE OR REPLACE FUNCTION culvert.answer_offer(at timestamptz, id uuid, result culvert.appended, batches integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
#variable_conflict use_variable
BEGIN
    UPDATE culvert.offers w SET waits = false, result = result, batches = batches, refused = (result).log IS NULL
     WHERE w.at = at AND w.id = id;
END
$$;

-- read_offer returns the row of an offer, and deletes the row if it has a result.
CREATE OR REPLACE FUNCTION culvert.read_offer(at timestamptz, id uuid) RETURNS culvert.offers
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
#variable_conflict use_variable
DECLARE
    o culvert.offers;
BEGIN
    SELECT w.* INTO o FROM culvert.offers w WHERE w.at = at AND w.id = id;
    IF NOT o.waits AND NOT o.refused THEN
        PERFORM culvert.delete_offer(at, id);
    END IF;
    RETURN o;
END
$$;

CREATE OR REPLACE FUNCTION culvert.delete_offer(at timestamptz, id uuid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
#variable_conflict use_variable
BEGIN
    DELETE FROM culvert.offers w WHERE w.at = at AND w.id = id;
END
$$;

-- append_offered appends the offers that wait, in the order in which they came, while all that is appended in
-- this transaction is within most. used is the load of the caller's own batch. It returns the log's new head,
-- NULL if nothing was stored, and how many batches share the transaction. The caller holds the append lock.
CREATE OR REPLACE FUNCTION culvert.append_offered(used integer[], most integer[], OUT head bigint, OUT batches integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    o culvert.offers;
    r culvert.appended;
BEGIN
    batches := 1 + culvert.waiting_offers(100);
    IF batches = 1 OR (SELECT s.last_value + most[1] + 4000 >= (l.slice + 1)::bigint * 1000000000
                         FROM culvert.log l, culvert.offsets s) THEN
        batches := 1; -- near its end, owners open the next slice with their own batch
        RETURN;
    END IF;
    FOR o IN SELECT * FROM culvert.take_offers() LOOP
        used := ARRAY[used[1] + o.load[1], used[2] + o.load[2], used[3] + o.load[3]];
        EXIT WHEN used[1] > most[1] OR used[2] > most[2] OR used[3] > most[3];
        BEGIN
            SELECT * INTO r FROM culvert.append(o.seen, o.part, o.last, o.room, o.others, o.size, o.brief, o.event, o.data, o.is_binary,
                o.sender, o.except_, o.key_ns, o.key, o.key_hash, o.key_pos, o.generation, o.reply_ms, o.asks, o.key_owner, o.spaces,
                o.before, 0, 0);
        EXCEPTION WHEN OTHERS THEN
            r := NULL;
        END;
        PERFORM culvert.answer_offer(o.at, o.id, r, batches);
        IF r.stored THEN
            head := r.head;
        END IF;
    END LOOP;
END
$$;

-- append_or_offer is culvert.append for a batch with the given load if the append lock is free. NOWAIT fails
-- also while others wait for the lock, so that nobody is overtaken. If the lock is taken, the batch is offered
-- for the time expires: id is not NULL then, and the caller goes on with culvert.settle_offer.
--
-- expect is how many batches the caller expects to share the next commit. If it is more than 1, and fewer are
-- there, the batch is offered even if the lock is free: the last instance that comes appends all of them. With 1
-- this costs nothing more than culvert.append while the lock is free.
--
-- batches is how many batches share the transaction. others is the log's new head if batches of others were
-- appended after the caller's.
CREATE OR REPLACE FUNCTION culvert.append_or_offer(
    seen pg_snapshot, part xid8, last bigint, room bigint[], others_ text[], size integer[], brief text[], event text[], data text[],
    is_binary boolean[], sender text[], except_ text[], key_ns integer[], key text[], key_hash bytea[], key_pos integer[], generation bigint,
    reply_ms integer[], asks json, key_owner text[], spaces text[], until xid8[], move_rows integer, move_bytes bigint,
    load integer[], most integer[], expires interval, expect integer,
    OUT at timestamptz, OUT id uuid, OUT result culvert.appended, OUT batches integer, OUT others bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    locked boolean := false;
BEGIN
    IF expect = 1 OR culvert.waiting_offers(expect - 1) >= expect - 1 THEN
        BEGIN
            LOCK TABLE culvert.append_lock IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
            locked := true;
        EXCEPTION WHEN lock_not_available THEN
        END;
    END IF;
    IF locked THEN
        SELECT * INTO result FROM culvert.append(seen, part, last, room, others_, size, brief, event, data, is_binary, sender, except_,
            key_ns, key, key_hash, key_pos, generation, reply_ms, asks, key_owner, spaces, until, move_rows, move_bytes);
        batches := 1;
        IF expect > 1 THEN
            SELECT a.head, a.batches INTO others, batches FROM culvert.append_offered(load, most) a;
        END IF;
        RETURN;
    END IF;
    INSERT INTO culvert.offers AS o (until, load, seen, part, last, room, others, size, brief, event, data, is_binary, sender, except_,
            key_ns, key, key_hash, key_pos, generation, reply_ms, asks, key_owner, spaces, before)
    VALUES (clock_timestamp() + expires, load, seen, part, last, room, others_, size, brief, event, data, is_binary, sender, except_,
            key_ns, key, key_hash, key_pos, generation, reply_ms, asks, key_owner, spaces, until)
    RETURNING o.at, o.id INTO at, id;
END
$$;

-- settle_offer returns the result of an offer, and deletes its row. If it has none yet, the function waits for
-- the append lock, and appends it and what else is offered. state is
--   settled   result has what became of the batch
--   again     fewer batches wait than are expected: the caller calls again shortly
--   gone      the row is not there, or its time is over: whether it was appended is unknown
CREATE OR REPLACE FUNCTION culvert.settle_offer(
    at timestamptz, id uuid, move_rows integer, move_bytes bigint, most integer[], expect integer,
    OUT state text, OUT result culvert.appended, OUT batches integer, OUT others bigint, OUT by_other boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    o culvert.offers;
BEGIN
    FOR try IN 1..2 LOOP
        o := culvert.read_offer(at, id);
        IF o.id IS NULL OR (o.waits OR o.refused) AND o.until <= clock_timestamp() THEN
            state := 'gone';
            RETURN;
        END IF;
        IF NOT o.waits AND NOT o.refused THEN
            state := 'settled';
            by_other := true;
            result := o.result;
            batches := o.batches;
            RETURN;
        END IF;
        IF try = 1 THEN
            PERFORM culvert.lock_log();
        END IF;
    END LOOP;
    IF expect > 1 AND NOT o.refused AND culvert.waiting_offers(expect) < expect THEN
        state := 'again';
        RETURN;
    END IF;
    SELECT * INTO result FROM culvert.append(o.seen, o.part, o.last, o.room, o.others, o.size, o.brief, o.event, o.data, o.is_binary,
        o.sender, o.except_, o.key_ns, o.key, o.key_hash, o.key_pos, o.generation, o.reply_ms, o.asks, o.key_owner, o.spaces,
        o.before, move_rows, move_bytes);
    PERFORM culvert.delete_offer(at, id);
    SELECT a.head, a.batches INTO others, batches FROM culvert.append_offered(o.load, most) a;
    state := 'settled';
    by_other := false;
END
$$;
