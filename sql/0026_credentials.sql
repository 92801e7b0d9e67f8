-- New credentials whose writer may die before what was kept of the old ones is gone.

ALTER TABLE credentials ADD COLUMN changing_since timestamptz;
CREATE INDEX credentials_changing ON credentials (changing_since) WHERE changing_since IS NOT NULL;
COMMENT ON COLUMN credentials.changing_since IS 'Since when these are stored while Redis may still hold a token of the ones before; NULL: it does not. Schedulers end what was left so.';
