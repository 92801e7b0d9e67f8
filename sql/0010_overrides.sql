-- What one integration has otherwise than its partner's manifest says.

ALTER TABLE integrations ADD COLUMN overrides jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(overrides) = 'object');
COMMENT ON COLUMN integrations.overrides IS 'Limits, and columns of collections, in place of the manifest''s; set with `longshore integration set`, which checks them.';
