-- Staged events that could not be moved into the log: see functions/unmovable.sql.

-- +goose Up

-- The logs report them; an operator looks at them and deletes them.
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
