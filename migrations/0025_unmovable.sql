-- Staged events that could not be moved into the log: see functions/unmovable.sql.

-- +goose Up

-- An operator looks at them and deletes them; they are told in the logs.
CREATE TABLE culvert.unmovable (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    error     text NOT NULL,
    namespace text,
    rooms     text[],
    except_   text[],
    event     text,
    data      text,
    sender    text,
    key       text
);

-- +goose Down
DROP TABLE culvert.unmovable;
