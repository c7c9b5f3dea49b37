-- The registry: what operators set and every instance must know at once. It consists of
-- the settings of namespaces and the stored API keys; the version in culvert.registry tells
-- instances that something changed.

-- +goose Up

CREATE TABLE culvert.registry (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL DEFAULT 1
);
INSERT INTO culvert.registry DEFAULT VALUES;

-- A key's secret is random and long, so that its plain digest reveals nothing.
CREATE TABLE culvert.api_keys (
    id         text PRIMARY KEY CHECK (id ~ '^[a-z0-9]{1,32}$'),
    hash       bytea NOT NULL,
    label      text NOT NULL,
    namespaces text[],              -- by name; NULL: all
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    -- The secret before the last rotation, and until when it is valid.
    old_hash   bytea,
    old_until  timestamptz,
    CHECK ((old_hash IS NULL) = (old_until IS NULL))
);

-- Tokens of a client that were issued before `at` are not accepted any more.
CREATE TABLE culvert.revocations (
    namespace_id integer NOT NULL REFERENCES culvert.namespaces ON DELETE CASCADE,
    client       text NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (namespace_id, client)
);

-- +goose Down
DROP TABLE culvert.revocations, culvert.api_keys, culvert.registry;
