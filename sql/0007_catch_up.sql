-- Imports that the clock would have queued while a partner could not be called: one follows, once it can be.

ALTER TABLE integrations ADD COLUMN catch_up_since timestamptz;
CREATE INDEX integrations_catch_up ON integrations (id) WHERE catch_up_since IS NOT NULL;
COMMENT ON COLUMN integrations.catch_up_since IS 'Since when scheduled imports were left out, behind an open breaker or refused credentials; NULL: none is owed.';
