-- Rows of one transaction are moved in the order of their ids. With the id in the index, the search
-- for the next row of a namespace does not scan the remains of rows that were moved.

-- +goose Up

CREATE INDEX staged_namespace_id ON culvert.staged (namespace, xid, id);
DROP INDEX culvert.staged_namespace;
ALTER INDEX culvert.staged_namespace_id RENAME TO staged_namespace;

-- +goose Down

CREATE INDEX staged_namespace_xid ON culvert.staged (namespace, xid);
DROP INDEX culvert.staged_namespace;
ALTER INDEX culvert.staged_namespace_xid RENAME TO staged_namespace;
