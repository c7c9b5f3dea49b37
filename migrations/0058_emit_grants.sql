-- Which role may emit into which namespaces by culvert.emit. While the table is empty, a role with
-- EXECUTE on the function may emit into every namespace and as any sender, as before: an upgrade
-- must not stop anybody. As soon as there is a row, only what a row allows is possible.

-- +goose Up
CREATE TABLE culvert.emit_grants (
    role       text NOT NULL,               -- a role (it also covers the role's members), or public: every role
    namespace  text NOT NULL,               -- a pattern: * is any run of characters
    any_sender boolean NOT NULL DEFAULT false, -- the role may also name a client as the sender
    PRIMARY KEY (role, namespace)
);
REVOKE ALL ON culvert.emit_grants FROM PUBLIC;

-- +goose Down
DROP TABLE culvert.emit_grants;
