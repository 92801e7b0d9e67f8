-- What we do at partners in steps: each request, and each of its steps, so that none is ever done twice.

CREATE TABLE outbound_requests (
	id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	partner         text NOT NULL,
	integration_id  bigint NOT NULL,
	action          text NOT NULL,
	state           text NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed', 'unknown', 'undone')),
	wants           text NOT NULL DEFAULT 'do' CHECK (wants IN ('do', 'undo')),
	job             json NOT NULL,
	args            json GENERATED ALWAYS AS (job -> 'args') STORED,
	kept            jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(kept) = 'object'),
	external_id     text,
	entry           text NOT NULL,
	idempotency_key text,
	fingerprint     text NOT NULL,
	parent_id       bigint,
	source          text NOT NULL CHECK (source IN ('job', 'http')),
	lane            text NOT NULL CHECK (lane IN ('high', 'normal', 'low')),
	steps_done      bigint NOT NULL DEFAULT 0,
	steps           bigint NOT NULL,
	attempts        bigint NOT NULL DEFAULT 0,
	class           text,
	rule            text,
	at_step         text,
	error           text,
	next_try_at     timestamptz,
	deadline_at     timestamptz NOT NULL,
	created_at      timestamptz NOT NULL DEFAULT now(),
	updated_at      timestamptz NOT NULL DEFAULT now(),
	claimed_at      timestamptz,
	finished_at     timestamptz,
	job_id          text,
	letter_id       text,
	worker          text,
	generation      bigint NOT NULL DEFAULT 0,
	fence           bigint NOT NULL DEFAULT 0,
	queued_at       timestamptz,
	queued_times    bigint NOT NULL DEFAULT 0,
	queued_generation bigint NOT NULL DEFAULT 0,
	UNIQUE (partner, entry)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE UNIQUE INDEX outbound_requests_key ON outbound_requests (integration_id, action, idempotency_key)
	WHERE idempotency_key IS NOT NULL;
CREATE INDEX outbound_requests_open ON outbound_requests (partner, id) WHERE state IN ('pending', 'running', 'unknown');
CREATE INDEX outbound_requests_unqueued ON outbound_requests (id) WHERE queued_at IS NULL AND state IN ('pending', 'running');
CREATE INDEX outbound_requests_external ON outbound_requests (integration_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX outbound_requests_parent ON outbound_requests (parent_id) WHERE parent_id IS NOT NULL;
COMMENT ON TABLE outbound_requests IS 'What was asked to be done at partners: one row a request, kept after it has ended, so that none is done twice.';
COMMENT ON COLUMN outbound_requests.state IS 'pending (waits for its first or next try) | running | done | failed | unknown (nobody knows whether a step was done: a person decides) | undone.';
COMMENT ON COLUMN outbound_requests.wants IS 'do | undo: a person asked for what was done to be taken back.';
COMMENT ON COLUMN outbound_requests.job IS 'The job as it was pushed; its args are the request.';
COMMENT ON COLUMN outbound_requests.kept IS 'What the steps kept of the partner''s answers, by name.';
COMMENT ON COLUMN outbound_requests.external_id IS 'What the partner calls it, as the manifest''s "external_id" says; resources has its later state under that id.';
COMMENT ON COLUMN outbound_requests.entry IS 'What makes it one request: a hash of the action''s "once", or of the caller''s key, or the job.';
COMMENT ON COLUMN outbound_requests.fingerprint IS 'Of its args: the same key with other args is refused.';
COMMENT ON COLUMN outbound_requests.parent_id IS 'The request that queued this one ("then").';
COMMENT ON COLUMN outbound_requests.error IS 'Why it waits, failed, or is unknown; class, rule and at_step go with it.';
COMMENT ON COLUMN outbound_requests.deadline_at IS 'Until when it is tried again; open beyond it: late.';
COMMENT ON COLUMN outbound_requests.letter_id IS 'Its dead letter, when it failed: replaying that goes on where it was.';
COMMENT ON COLUMN outbound_requests.queued_at IS 'NULL: it is to be put into its queue; schedulers do.';
COMMENT ON COLUMN outbound_requests.queued_generation IS 'Of the partner (partner_states) when it was queued: a greater one there says that Redis has lost the job.';

CREATE TABLE outbound_steps (
	request_id  bigint NOT NULL REFERENCES outbound_requests (id) ON DELETE CASCADE,
	kind        text NOT NULL CHECK (kind IN ('do', 'undo')),
	step        bigint NOT NULL,
	name        text NOT NULL,
	state       text NOT NULL CHECK (state IN ('pending', 'sent', 'done', 'failed', 'unknown')),
	key         text,
	round       bigint NOT NULL DEFAULT 0,
	attempts    bigint NOT NULL DEFAULT 0,
	status      bigint,
	sent_at     timestamptz,
	doubt_since timestamptz,
	finished_at timestamptz,
	how         text,
	class       text,
	rule        text,
	error       text,
	PRIMARY KEY (request_id, kind, step)
) WITH (fillfactor = 70);
COMMENT ON TABLE outbound_steps IS 'The steps of outbound requests that were begun; each is written before the next begins.';
COMMENT ON COLUMN outbound_steps.state IS 'pending (not done, and known not to be) | sent (written before it is sent; nothing has come back yet) | done | failed | unknown.';
COMMENT ON COLUMN outbound_steps.key IS 'Of idempotency: the same at each attempt at this step.';
COMMENT ON COLUMN outbound_steps.round IS 'How often it was refused, and tried anew under another key.';
COMMENT ON COLUMN outbound_steps.doubt_since IS 'Since when it may have been done without our knowing; NULL: there is no doubt.';
COMMENT ON COLUMN outbound_steps.how IS 'Of a done one: answered | found (by find_first) | said (by a person).';

CREATE VIEW outbound_status AS
SELECT o.id, c.name AS company, o.partner, o.integration_id, o.action, o.state,
	o.state IN ('pending', 'running', 'unknown') AND now() > o.deadline_at AS late,
	o.external_id, r.status AS partner_status, r.partner_updated_at, o.steps_done, o.steps, o.attempts, o.next_try_at,
	o.class, o.at_step, o.error, o.idempotency_key, o.parent_id, o.created_at, o.finished_at, o.deadline_at
FROM outbound_requests o
LEFT JOIN integrations i ON i.id = o.integration_id
LEFT JOIN companies c ON c.id = i.company_id
LEFT JOIN resources r ON r.integration_id = o.integration_id AND r.external_id = o.external_id;
COMMENT ON VIEW outbound_status IS 'Outbound requests with what the partner says of them since, where its records are imported.';
