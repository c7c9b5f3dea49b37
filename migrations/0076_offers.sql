-- Batches that an instance leaves to whoever holds the append lock, so that instances share commits:
-- see functions/offers.sql.

-- +goose Up

-- What culvert.append returns. The attributes have the order of its OUT parameters.
CREATE TYPE culvert.appended AS (
    seen         pg_snapshot,
    part         xid8,
    last         bigint,
    generation   bigint,
    log          text,
    prev         bigint,
    base         bigint,
    head         bigint,
    at           timestamptz,
    moved        integer,
    more         boolean,
    stored       boolean,
    waits        text[],
    now_         xid8,
    move_ms      double precision,
    known        integer[],
    known_offset bigint[],
    known_same   boolean[]
);

-- The rows do not survive a crash, and need not: whoever waits for one has lost its connection. UNLOGGED
-- spares its owner a wait for the disk. A row lives until its owner has taken the result. It is not appended
-- after its time, so that no dump and no dead instance brings it into the log much later.
CREATE UNLOGGED TABLE culvert.offers (
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    id         uuid NOT NULL DEFAULT gen_random_uuid(), -- no number, which a server that takes over would give out again
    until      timestamptz NOT NULL, -- it is not appended later
    load       integer[] NOT NULL,   -- events, rooms, bytes
    -- the arguments of culvert.append
    seen       pg_snapshot NOT NULL,
    part       xid8 NOT NULL,
    last       bigint NOT NULL,
    room       bigint[],
    others     text[],
    size       integer[],
    brief      text[],
    event      text[],
    data       text[],
    is_binary  boolean[],
    sender     text[],
    except_    text[],
    key_ns     integer[],
    key        text[],
    key_hash   bytea[],
    key_pos    integer[],
    generation bigint,
    reply_ms   integer[],
    asks       json,
    key_owner  text[],
    spaces     text[],
    before     xid8[], -- until
    -- what became of it
    waits      boolean NOT NULL DEFAULT true,  -- nobody has tried to append it
    refused    boolean NOT NULL DEFAULT false, -- Postgres refused it; only its owner tries again
    batches    integer,                        -- how many shared its transaction
    result     culvert.appended,
    PRIMARY KEY (at, id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, vacuum_truncate = off);
-- They are read once, so that compressing them costs more than it saves.
ALTER TABLE culvert.offers
    ALTER COLUMN room SET STORAGE EXTERNAL, ALTER COLUMN others SET STORAGE EXTERNAL, ALTER COLUMN event SET STORAGE EXTERNAL,
    ALTER COLUMN data SET STORAGE EXTERNAL, ALTER COLUMN brief SET STORAGE EXTERNAL, ALTER COLUMN sender SET STORAGE EXTERNAL,
    ALTER COLUMN except_ SET STORAGE EXTERNAL, ALTER COLUMN key SET STORAGE EXTERNAL, ALTER COLUMN key_hash SET STORAGE EXTERNAL,
    ALTER COLUMN key_owner SET STORAGE EXTERNAL, ALTER COLUMN asks SET STORAGE EXTERNAL;
REVOKE ALL ON culvert.offers FROM PUBLIC;

-- +goose Down

-- +goose StatementBegin
DO $$
DECLARE
    functions text := (
        SELECT string_agg(p.oid::regprocedure::text, ', ')
          FROM pg_proc p
         WHERE p.pronamespace = 'culvert'::regnamespace);
BEGIN
    IF functions IS NOT NULL THEN
        EXECUTE 'DROP FUNCTION ' || functions;
    END IF;
END
$$;
-- +goose StatementEnd
DROP TABLE culvert.offers;
DROP TYPE culvert.appended;
