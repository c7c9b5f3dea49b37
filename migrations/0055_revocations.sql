-- Revocations are kept by the name of the namespace. Before, they were deleted with the
-- namespace's row, and revoked tokens were valid again in the next namespace of that name.

-- +goose Up
CREATE TABLE culvert.revoked_clients (
    namespace text COLLATE "C" NOT NULL,
    client    text COLLATE "C" NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (namespace, client)
);
INSERT INTO culvert.revoked_clients (namespace, client, at)
SELECT n.name, r.client, r.at
  FROM culvert.revocations r
  JOIN culvert.namespaces n ON n.id = r.namespace_id AND n.name IS NOT NULL;
DROP TABLE culvert.revocations;

-- +goose Down
CREATE TABLE culvert.revocations (
    namespace_id integer NOT NULL REFERENCES culvert.namespaces ON DELETE CASCADE,
    client       text NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (namespace_id, client)
);
INSERT INTO culvert.revocations (namespace_id, client, at)
SELECT n.id, r.client, r.at
  FROM culvert.revoked_clients r
  JOIN culvert.namespaces n ON n.name = r.namespace;
DROP TABLE culvert.revoked_clients;
