-- An event's data is stored once, however many rooms it is addressed to.

-- +goose Up

-- The row with the lowest room_id of an offset has the whole event. In the other rows data is
-- NULL when it is long: elsewhere is then its length in bytes, and except_ is '{}' when the
-- event excepts anybody. Each row of earlier builds has the whole event.
ALTER TABLE culvert.events ALTER COLUMN data DROP NOT NULL;
ALTER TABLE culvert.events ADD COLUMN elsewhere integer;

-- +goose Down
UPDATE culvert.events e
   SET data = f.data, except_ = f.except_
  FROM culvert.events f
 WHERE e.elsewhere IS NOT NULL AND f."offset" = e."offset" AND f.data IS NOT NULL;
ALTER TABLE culvert.events DROP COLUMN elsewhere;
ALTER TABLE culvert.events ALTER COLUMN data SET NOT NULL;
