-- Who may use the scheduler's API: bearer tokens, of which only hashes are kept.

CREATE TABLE api_tokens (
	id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name         text NOT NULL CHECK (name <> ''),
	hash         text NOT NULL UNIQUE,
	scopes       text[] NOT NULL CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['push', 'read', 'operate']),
	per_minute   bigint NOT NULL CHECK (per_minute > 0),
	created_at   timestamptz NOT NULL DEFAULT now(),
	expires_at   timestamptz,
	revoked_at   timestamptz
);
CREATE UNIQUE INDEX api_tokens_name ON api_tokens (name) WHERE revoked_at IS NULL;
COMMENT ON TABLE api_tokens IS 'Bearer tokens of the HTTP API; `longshore token` adds, lists and revokes them.';
COMMENT ON COLUMN api_tokens.hash IS 'SHA-256 of the token, which is shown once and kept nowhere.';
COMMENT ON COLUMN api_tokens.scopes IS 'push (requests, lookups) | read (look at everything) | operate (decide).';
COMMENT ON COLUMN api_tokens.per_minute IS 'Calls a minute that each scheduler answers.';
