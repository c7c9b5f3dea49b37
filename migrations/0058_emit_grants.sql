-- Which role may emit what by culvert.emit. While there is no row at all, a role with
-- EXECUTE on the function emits into every namespace and as any sender, as it always could:
-- an upgrade must not stop anybody. From the first row on only what a row allows is.

-- +goose Up
CREATE TABLE culvert.emit_grants (
    role       text NOT NULL,               -- a role, whose members have it, too; or public: every role
    namespace  text NOT NULL,               -- a pattern: * is any run of characters
    any_sender boolean NOT NULL DEFAULT false, -- it may also name a client as the sender
    PRIMARY KEY (role, namespace)
);
REVOKE ALL ON culvert.emit_grants FROM PUBLIC;

-- +goose Down
DROP TABLE culvert.emit_grants;
