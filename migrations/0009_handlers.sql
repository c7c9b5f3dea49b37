-- Handlers: functions of applications that run for events, at least once each.

-- +goose Up

-- A handler's name is unique in its namespace; instances that register the same name
-- share its work. All matching events up to position have become jobs.
CREATE TABLE culvert.handlers (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace_id integer NOT NULL REFERENCES culvert.namespaces ON DELETE CASCADE,
    name         text NOT NULL,
    pattern      text NOT NULL,      -- of event names
    answers      boolean NOT NULL,   -- asks expect a reply from it
    position     bigint NOT NULL,
    live_until   timestamptz NOT NULL, -- some instance runs it until then
    gaps         integer NOT NULL DEFAULT 0, -- how often events were pruned before they became jobs
    UNIQUE (namespace_id, name)
);

-- A copy of an event that a handler has not finished. It is a copy so that retention
-- cannot remove an event that is still to be retried. due is when it may run next; while it
-- runs, that is the end of its lease. Each claim of the job has another number.
CREATE TABLE culvert.handler_jobs (
    handler_id  integer NOT NULL REFERENCES culvert.handlers ON DELETE CASCADE,
    "offset"    bigint NOT NULL,
    room        text NOT NULL,
    at          timestamptz NOT NULL,
    is_binary   boolean NOT NULL,
    event       text NOT NULL,
    sender      text,
    except_     text[],
    data        text NOT NULL,
    reply_until timestamptz,
    due         timestamptz NOT NULL DEFAULT clock_timestamp(),
    claim       bigint NOT NULL DEFAULT 0,
    tries       integer NOT NULL DEFAULT 0,
    error       text,        -- of the last try
    parked_at   timestamptz, -- it does not run again until an operator retries it
    PRIMARY KEY (handler_id, "offset")
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX handler_jobs_due ON culvert.handler_jobs (handler_id, due) WHERE parked_at IS NULL;
CREATE INDEX handler_jobs_parked ON culvert.handler_jobs (handler_id, "offset") WHERE parked_at IS NOT NULL;

-- +goose Down
DROP TABLE culvert.handler_jobs, culvert.handlers;
