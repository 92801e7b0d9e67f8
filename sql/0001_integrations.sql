-- Who is kept in step with whom: companies, their accounts with partners, the secrets of those
-- accounts, and what is known of each partner as a whole.

CREATE TABLE companies (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name       text NOT NULL UNIQUE CHECK (name <> ''),
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE companies IS 'Your customers, each with any number of integrations.';

CREATE TABLE integrations (
	id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	company_id      bigint REFERENCES companies (id),
	partner         text NOT NULL CHECK (partner ~ '^[a-z0-9_]{1,40}$'),
	environment     text NOT NULL DEFAULT 'production' CHECK (environment IN ('production', 'sandbox')),
	base_url        text,
	status          text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'auth_broken')),
	status_reason   text,
	status_since    timestamptz NOT NULL DEFAULT now(),
	settings        jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
	created_at      timestamptz NOT NULL DEFAULT now(),
	last_success_at timestamptz
);
CREATE INDEX integrations_partner ON integrations (partner, id);
CREATE INDEX integrations_company ON integrations (company_id, id);
COMMENT ON TABLE integrations IS 'One company''s account with one partner.';
COMMENT ON COLUMN integrations.company_id IS 'NULL: a lookup partner''s own integration, which belongs to no company.';
COMMENT ON COLUMN integrations.partner IS 'The name of the driver''s folder, and of the queues.';
COMMENT ON COLUMN integrations.base_url IS 'Replaces the API host of the partner''s manifest (tests, regional hosts); NULL: the manifest''s.';
COMMENT ON COLUMN integrations.status IS 'active | paused (by an operator) | auth_broken (the partner refuses the credentials for good).';
COMMENT ON COLUMN integrations.status_reason IS 'Why, and what to do about it.';
COMMENT ON COLUMN integrations.settings IS 'What was given with --set: strategy, every, in_flight, and what the manifest declares.';
COMMENT ON COLUMN integrations.last_success_at IS 'When an import of this integration last ended well.';

CREATE TABLE credentials (
	integration_id bigint PRIMARY KEY REFERENCES integrations (id) ON DELETE CASCADE,
	sealed         text NOT NULL,
	updated_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE credentials IS 'The secrets of an integration, encrypted. Nothing here can be read without the key.';
COMMENT ON COLUMN credentials.sealed IS 'AES-256-GCM: v1.key-id.base64, bound to this integration''s id: moved to another row it does not open.';

CREATE TABLE token_mints (
	integration_id bigint NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
	minted_at      timestamptz NOT NULL
);
CREATE INDEX token_mints_when ON token_mints (integration_id, minted_at);
COMMENT ON TABLE token_mints IS 'Each access token asked of a partner that allows a few a day; written before the request is sent.';

CREATE TABLE partner_states (
	partner      text PRIMARY KEY,
	generation   bigint NOT NULL DEFAULT 1,
	paused       boolean NOT NULL DEFAULT false,
	pause_reason text,
	paused_at    timestamptz
);
COMMENT ON TABLE partner_states IS 'What holds for a partner as a whole; its control hash in Redis mirrors this.';
COMMENT ON COLUMN partner_states.generation IS 'Grows each time Redis was found empty, so that fencing tokens never start over.';
