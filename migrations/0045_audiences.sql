-- Who is to reply to an ask, once for all asks of one append that are for the same clients.

-- +goose Up

-- Its offset is that of the first such ask. Asks of before have who is expected in themselves.
CREATE TABLE culvert.audiences (
    "offset"     bigint PRIMARY KEY,
    namespace_id integer NOT NULL REFERENCES culvert.namespaces ON DELETE CASCADE,
    until        timestamptz NOT NULL, -- of the ask that takes replies longest
    parties      text[] NOT NULL
);
CREATE INDEX audiences_until ON culvert.audiences (until);
CREATE INDEX audiences_namespace ON culvert.audiences (namespace_id);

ALTER TABLE culvert.asks ADD COLUMN audience bigint; -- NULL: any party, unless expected has some

-- +goose Down
ALTER TABLE culvert.asks DROP COLUMN audience;
DROP TABLE culvert.audiences;
