-- Rows of one transaction are moved in the order of their ids, and those that were moved
-- must not be walked over to find the next one of a namespace.

-- +goose Up

CREATE INDEX staged_namespace_id ON culvert.staged (namespace, xid, id);
DROP INDEX culvert.staged_namespace;
ALTER INDEX culvert.staged_namespace_id RENAME TO staged_namespace;

-- +goose Down

CREATE INDEX staged_namespace_xid ON culvert.staged (namespace, xid);
DROP INDEX culvert.staged_namespace;
ALTER INDEX culvert.staged_namespace_xid RENAME TO staged_namespace;
