-- Who is expected to reply, stored once for all asks of one append to the same clients.

-- +goose Up

-- "offset" is the offset of the first such ask. Asks of earlier builds have the expected parties in their own row.
CREATE TABLE culvert.audiences (
    "offset"     bigint PRIMARY KEY,
    namespace_id integer NOT NULL REFERENCES culvert.namespaces ON DELETE CASCADE,
    until        timestamptz NOT NULL, -- the latest `until` of these asks
    parties      text[] NOT NULL
);
CREATE INDEX audiences_until ON culvert.audiences (until);
CREATE INDEX audiences_namespace ON culvert.audiences (namespace_id);

ALTER TABLE culvert.asks ADD COLUMN audience bigint; -- NULL: any party counts, unless expected is set

-- +goose Down
ALTER TABLE culvert.asks DROP COLUMN audience;
DROP TABLE culvert.audiences;
