-- What a person has allowed us at a partner: refresh tokens, which may be sent once, and when a right lapses unused.

CREATE TABLE grants (
	integration_id bigint PRIMARY KEY REFERENCES integrations (id) ON DELETE CASCADE,
	generation     bigint NOT NULL DEFAULT 0,
	sealed         text,
	granted_at     timestamptz NOT NULL DEFAULT now(),
	used_at        timestamptz NOT NULL DEFAULT now(),
	lapses_at      timestamptz,
	spending_since timestamptz,
	spending_by    text,
	spends         integer NOT NULL DEFAULT 0
);
CREATE INDEX grants_used ON grants (used_at);
COMMENT ON TABLE grants IS 'The right to act for an account at a partner, as it stands: one row an integration.';
COMMENT ON COLUMN grants.generation IS 'Grows with each pair of tokens; one that was spent meanwhile is refused.';
COMMENT ON COLUMN grants.sealed IS 'The pair, encrypted and bound to this integration''s id; NULL: there is none, the row tells of use alone.';
COMMENT ON COLUMN grants.granted_at IS 'When a person allowed it.';
COMMENT ON COLUMN grants.used_at IS 'When a token was last asked for with it.';
COMMENT ON COLUMN grants.lapses_at IS 'When it ends by the partner''s word, whatever is done; NULL: not known.';
COMMENT ON COLUMN grants.spending_since IS 'The refresh token of this generation was sent then, and no answer is known: it may be spent.';
COMMENT ON COLUMN grants.spending_by IS 'Who does so now; NULL: the call is over, one way or the other.';
COMMENT ON COLUMN grants.spends IS 'How often in a row it was sent by a process that did not live to tell.';
