-- emit: emitting from inside the application's own transaction.

-- check_name raises an error unless a name has 1 to limit_ bytes and no control characters; field
-- is the name of the parameter.
CREATE OR REPLACE FUNCTION culvert.check_name(field text, name text, limit_ integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(name, '') = '' THEN
        RAISE EXCEPTION 'culvert.emit: % must not be empty', field USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(name) > limit_ THEN
        RAISE EXCEPTION 'culvert.emit: % is % bytes long, the limit is %', field, octet_length(name), limit_
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF name ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]' THEN
        RAISE EXCEPTION 'culvert.emit: % has a control character', field USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;

-- check_names is check_name for names that are also part of URLs: "." and ".."
-- would be taken for steps in a path.
CREATE OR REPLACE FUNCTION culvert.check_names(field text, names text[], limit_ integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY coalesce(names, '{}') LOOP
        PERFORM culvert.check_name(field, name, limit_);
        IF name IN ('.', '..') THEN
            RAISE EXCEPTION 'culvert.emit: % must not be "." or ".."', field USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
END
$$;

-- check_grant raises an error unless the caller of emit may emit into a namespace, and as a sender
-- if there is one. While culvert.emit_grants is empty, every role that may call
-- emit may. The owner of Culvert's schema and superusers always may. Inside of emit
-- current_user is the owner; the caller is the role of SET ROLE, or else the login.
CREATE OR REPLACE FUNCTION culvert.check_grant(namespace text, sender text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    caller name := coalesce(nullif(current_setting('role', true), 'none'), session_user);
BEGIN
    IF NOT EXISTS (SELECT FROM culvert.emit_grants) OR pg_has_role(caller, current_user, 'USAGE') THEN
        RETURN;
    END IF;
    IF NOT EXISTS (
       SELECT FROM culvert.emit_grants g
         LEFT JOIN pg_roles r ON r.rolname = g.role
        WHERE (g.role = 'public' OR r.oid IS NOT NULL AND pg_has_role(caller, r.oid, 'USAGE'))
          AND culvert.matches(ARRAY[g.namespace], namespace)
          AND (sender IS NULL OR g.any_sender)) THEN
        RAISE EXCEPTION 'culvert.emit: role % may not emit into namespace %', quote_ident(caller),
            namespace || CASE WHEN sender IS NULL THEN '' ELSE ' with a sender' END
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'The owner of schema culvert allows it by a row in culvert.emit_grants.';
    END IF;
END
$$;

-- content_hash identifies the content of an event with a key, whether it comes by SQL or by
-- HTTP: event/content.go computes the same hash for the same content. Rooms are sets. data is the
-- text of a jsonb, from which only the zeros at the end of fractions are removed:
-- in JSON 1.50 and 1.5 are one value. Every part is preceded by its length.
CREATE OR REPLACE FUNCTION culvert.content_hash(rooms text[], except_ text[], event text, data text, sender text) RETURNS bytea
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT sha256(convert_to(string_agg(octet_length(p.part) || ':' || p.part, '' ORDER BY p.i), 'UTF8'))
      FROM (SELECT 1, coalesce(string_agg(octet_length(r.name) || ':' || r.name, '' ORDER BY r.name), '')
              FROM (SELECT DISTINCT u.name COLLATE "C" AS name FROM unnest(rooms) u (name)) r
             UNION ALL
            SELECT 2, coalesce(string_agg(octet_length(r.name) || ':' || r.name, '' ORDER BY r.name), '')
              FROM (SELECT DISTINCT u.name COLLATE "C" AS name FROM unnest(except_) u (name)) r
             UNION ALL
            SELECT 3, event
             UNION ALL
            SELECT 4, coalesce(sender, '')
             UNION ALL
            -- The first alternative skips strings, so that the other ones see only numbers.
            SELECT 5, CASE WHEN data LIKE '%.%'
                           THEN regexp_replace(data, '("(?:[^"\\]|\\.)*")|(\.[0-9]*[1-9])0+(?![0-9])|\.0+(?![0-9])', '\1\2', 'g')
                           ELSE data END
             UNION ALL
            SELECT 6, '' -- what only emits over HTTP have: binary data, an ask for replies
           ) p (i, part);
END;

-- emit stages one event: it is delivered once the transaction has committed, and
-- never if the transaction rolls back. emit takes no lock that anyone waits for. It returns false
-- if the key was used before: then nothing was staged. A key used before with other
-- content is an error. The keys belong to the class that SQL and backends (API keys) share, not
-- to a client. When another transaction uses the key at the same
-- time, or after the caller's snapshot, this is noticed when the event is moved into the log:
-- the first event then counts.
--
-- It runs with its owner's rights: an application's role needs only USAGE on schema culvert and
-- EXECUTE on this function, and a row in culvert.emit_grants
-- as soon as that table has rows.
--
-- The NOTIFY only makes delivery prompt; instances also poll.
-- Postgres lets one notifying transaction commit at a time, so not every
-- transaction notifies: each tries to lock one of 16 rows of culvert.turns, and notifies if it gets
-- the lock. There are 16 so that one long transaction does not keep all others from notifying. A
-- transaction that is to be prepared (two-phase commit) may not notify at all: SET LOCAL culvert.notify = off.
CREATE OR REPLACE FUNCTION culvert.emit(
    namespace    text DEFAULT 'default',
    room         text DEFAULT NULL,
    event        text DEFAULT NULL,
    data         jsonb DEFAULT NULL,
    key          text DEFAULT NULL,
    rooms        text[] DEFAULT NULL,
    except_rooms text[] DEFAULT NULL,
    sender       text DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET standard_conforming_strings = on -- it runs in sessions of applications
SET enable_seqscan = off SET jit = off AS $$ -- see culvert.known
#variable_conflict use_variable
DECLARE
    json   text := coalesce(data, 'null')::text;
    target text[];
    body   bytea;
    before bytea;
BEGIN
    IF namespace IS NULL OR namespace !~ '^[a-z0-9][a-z0-9-]{0,62}$' THEN
        RAISE EXCEPTION 'culvert.emit: namespace must be 1 to 63 characters of a-z, 0-9 and "-", not beginning with "-"'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM culvert.check_grant(namespace, sender);
    IF room IS NOT NULL AND rooms IS NOT NULL THEN
        RAISE EXCEPTION 'culvert.emit: give room or rooms, not both' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF array_ndims(rooms) > 1 OR array_ndims(except_rooms) > 1 THEN
        RAISE EXCEPTION 'culvert.emit: rooms and except_rooms must have one dimension' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF cardinality(rooms) = 0 OR cardinality(rooms) > 100 OR cardinality(except_rooms) > 100 THEN
        RAISE EXCEPTION 'culvert.emit: rooms must name 1 to 100 rooms, and except_rooms at most 100'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(DISTINCT r ORDER BY r) INTO target
      FROM unnest(coalesce(rooms, ARRAY[coalesce(room, '*')])) r;
    -- As over HTTP, "@me" is the sender.
    IF '@me' = ANY (except_rooms) THEN
        IF sender IS NULL THEN
            RAISE EXCEPTION 'culvert.emit: except_rooms has "@me", which needs a sender' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        except_rooms := array_replace(except_rooms, '@me', '@' || sender);
    END IF;
    PERFORM culvert.check_names(CASE WHEN rooms IS NULL THEN 'room' ELSE 'rooms' END, target, 200);
    PERFORM culvert.check_names('except_rooms', except_rooms, 200);
    PERFORM culvert.check_name('event', event, 128);
    IF starts_with(event, 'culvert:') THEN
        RAISE EXCEPTION 'culvert.emit: event names beginning with "culvert:" are reserved'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF sender IS NOT NULL THEN
        PERFORM culvert.check_names('sender', ARRAY[sender], 128);
        IF sender = 'me' THEN
            RAISE EXCEPTION 'culvert.emit: sender must not be "me", which stands for the caller in addresses'
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END IF;
    IF octet_length(json) > 262144 THEN
        RAISE EXCEPTION 'culvert.emit: data is % bytes long, the limit is 262144', octet_length(json)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF length(json) - length(translate(json, '[{', '')) > 64
       AND jsonb_path_exists(data, 'strict $.**{64} ? (@.type() == "object" || @.type() == "array")') THEN
        RAISE EXCEPTION 'culvert.emit: data is nested deeper than 64' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF key IS NOT NULL THEN
        PERFORM culvert.check_names('key', ARRAY[key], 200);
        body := culvert.content_hash(target, except_rooms, event, json, sender);
        -- Staged events are not searched when SERIALIZABLE: reading where others write would make
        -- unrelated transactions fail.
        SELECT b.hash INTO before
          FROM (SELECT k.hash
                  FROM culvert.log l, culvert.keys k JOIN culvert.namespaces n ON n.id = k.namespace_id + 0
                 WHERE n.name = namespace AND k.owner = '' AND k.key = key
                   AND k.at > clock_timestamp() - coalesce(n.dedup, l.dedup)
                 UNION ALL
                SELECT s.hash
                  FROM culvert.staged s
                 WHERE s.namespace = namespace AND s.key = key
                   AND current_setting('transaction_isolation') <> 'serializable') b
         LIMIT 1;
        IF before <> body THEN
            RAISE EXCEPTION 'culvert.emit: key "%" was used with another body', key USING ERRCODE = 'unique_violation';
        ELSIF FOUND THEN
            RETURN false;
        END IF;
    END IF;

    INSERT INTO culvert.staged (namespace, rooms, except_, event, data, sender, key, hash)
    VALUES (namespace, target, except_rooms, event, json, sender, key, body);
    IF coalesce(current_setting('culvert.notify', true), '') <> 'off' THEN
        PERFORM FROM culvert.turns t WHERE t.n = 16 + pg_backend_pid() % 16 FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            PERFORM pg_notify('culvert', 'staged');
        END IF;
    END IF;
    RETURN true;
END
$$;
