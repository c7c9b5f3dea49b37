-- +goose Up

-- Which version of the functions in functions/ the database has: see functions.go.
-- (Migrations 2 to 6 and 10 of earlier builds only defined functions.)
CREATE TABLE culvert.functions (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    digest     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- +goose Down
DROP TABLE culvert.functions;
