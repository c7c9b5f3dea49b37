-- Idempotency keys have an owner, and staged events can be found by namespace and by key.

-- +goose Up

-- Whose key it is: a client's name, or '' for the one class that backends (API keys)
-- and SQL share.
ALTER TABLE culvert.keys ADD COLUMN owner text NOT NULL DEFAULT '';
-- NULL: the key is of an earlier build, which hashed in another way; any content counts as the same.
ALTER TABLE culvert.keys ALTER COLUMN hash DROP NOT NULL;
ALTER TABLE culvert.keys DROP CONSTRAINT keys_pkey;
-- The key comes first: see culvert.known.
ALTER TABLE culvert.keys ADD CONSTRAINT keys_pkey PRIMARY KEY (key, owner, namespace_id);
UPDATE culvert.keys SET hash = NULL;
UPDATE culvert.staged SET hash = NULL WHERE hash IS NOT NULL;
-- A key with a sender was used by that client or by a backend. Which one is unknown, so
-- it now exists for both.
INSERT INTO culvert.keys (namespace_id, owner, key, "offset", at)
SELECT DISTINCT k.namespace_id, e.sender, k.key, k."offset", k.at
  FROM culvert.keys k
  JOIN culvert.events e ON e."offset" = k."offset"
 WHERE e.sender <> '';

CREATE INDEX staged_key ON culvert.staged (namespace, key) WHERE key IS NOT NULL;
CREATE INDEX staged_namespace ON culvert.staged (namespace, xid);

-- The transaction whose staged events are partly in the log: its other events are moved next.
ALTER TABLE culvert.log ADD COLUMN carrying xid8;

-- +goose Down
ALTER TABLE culvert.log DROP COLUMN carrying;
DROP INDEX culvert.staged_namespace, culvert.staged_key;
DELETE FROM culvert.keys WHERE owner <> '' OR hash IS NULL;
ALTER TABLE culvert.keys DROP COLUMN owner;
ALTER TABLE culvert.keys ALTER COLUMN hash SET NOT NULL;
ALTER TABLE culvert.keys ADD CONSTRAINT keys_pkey PRIMARY KEY (namespace_id, key);
