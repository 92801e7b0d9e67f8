-- What the machine does and what went wrong with it: runs, checkpoints, dead letters, rejected items, alerts.

CREATE SEQUENCE run_ids INCREMENT BY 200;
COMMENT ON SEQUENCE run_ids IS 'Each value is the first of a block of 200 run ids, handed out inside one process.';

CREATE TABLE runs (
	id             bigint PRIMARY KEY,
	root_id        bigint NOT NULL,
	integration_id bigint,
	task           text NOT NULL,
	collection     text,
	mode           text,
	job_id         text,
	worker         text,
	state          text NOT NULL CHECK (state IN ('running', 'done', 'failed', 'incomplete')),
	note           text,
	started_at     timestamptz NOT NULL,
	finished_at    timestamptz,
	updated_at     timestamptz NOT NULL DEFAULT now(),
	total          bigint,
	processed      bigint NOT NULL DEFAULT 0,
	added          bigint NOT NULL DEFAULT 0,
	updated        bigint NOT NULL DEFAULT 0,
	unchanged      bigint NOT NULL DEFAULT 0,
	stale          bigint NOT NULL DEFAULT 0,
	undeleted      bigint NOT NULL DEFAULT 0,
	deleted        bigint NOT NULL DEFAULT 0,
	failed         bigint NOT NULL DEFAULT 0,
	pages          bigint NOT NULL DEFAULT 0,
	calls          bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX runs_integration ON runs (integration_id, id DESC);
CREATE INDEX runs_root ON runs (root_id) WHERE root_id <> id;
CREATE INDEX runs_running ON runs (id) WHERE state = 'running';
CREATE INDEX runs_started ON runs (started_at);
COMMENT ON TABLE runs IS 'Imports: one row per job that imports, grouped by the run that started them.';
COMMENT ON COLUMN runs.root_id IS 'The run that this is a part of; its own id if of none.';
COMMENT ON COLUMN runs.state IS 'running | done | failed | incomplete (ended early: never counts as a complete scan).';
COMMENT ON COLUMN runs.total IS 'How many items there are, where the partner says so.';
COMMENT ON COLUMN runs.processed IS 'Items seen so far; added to calls below are what became of them.';
COMMENT ON COLUMN runs.failed IS 'Items set aside in rejected_items.';

CREATE TABLE checkpoints (
	integration_id bigint NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
	collection     text NOT NULL,
	job_id         text,
	state          jsonb,
	generation     bigint NOT NULL,
	fence          bigint NOT NULL,
	updated_at     timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (integration_id, collection)
) WITH (fillfactor = 70);
COMMENT ON TABLE checkpoints IS 'How far an import has got: only what is stored in the row tables is ever checkpointed.';
COMMENT ON COLUMN checkpoints.state IS 'The next page, and "since": the newest partner_updated_at that a finished import covers.';
COMMENT ON COLUMN checkpoints.fence IS 'The claim that wrote this, within its generation; a smaller one is refused.';

CREATE TABLE dead_letters (
	id             text PRIMARY KEY,
	partner        text NOT NULL,
	integration_id bigint,
	task           text,
	class          text NOT NULL,
	rule           text,
	error          text,
	at_step        text,
	attempts       bigint,
	worker         text,
	lane           text,
	failed_at      timestamptz NOT NULL,
	state          text NOT NULL DEFAULT 'dead' CHECK (state IN ('dead', 'replayed', 'discarded')),
	state_since    timestamptz NOT NULL DEFAULT now(),
	letter         json NOT NULL
);
CREATE INDEX dead_letters_when ON dead_letters (failed_at);
CREATE INDEX dead_letters_integration ON dead_letters (integration_id, failed_at);
CREATE INDEX dead_letters_partner ON dead_letters (partner, failed_at);
COMMENT ON TABLE dead_letters IS 'Jobs that could not be done; `longshore dead` lists, replays and discards them.';
COMMENT ON COLUMN dead_letters.class IS 'transient rate_limit client auth data internal limit poison expired bad_job.';
COMMENT ON COLUMN dead_letters.rule IS 'Which rule chose the class.';
COMMENT ON COLUMN dead_letters.at_step IS 'Where it happened: step, page or item.';
COMMENT ON COLUMN dead_letters.state IS 'dead | replayed (its job was queued again) | discarded.';
COMMENT ON COLUMN dead_letters.letter IS 'The whole letter with the job''s own text; json, not jsonb, since a payload may hold what jsonb refuses.';

CREATE TABLE rejected_items (
	id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	integration_id bigint NOT NULL,
	run_id         bigint,
	job_id         text,
	collection     text NOT NULL,
	page           bigint,
	external_id    text,
	parent_id      text,
	field          text,
	reason         text NOT NULL,
	item           json,
	fingerprint    uuid NOT NULL UNIQUE,
	rejected_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX rejected_items_integration ON rejected_items (integration_id, rejected_at);
CREATE INDEX rejected_items_when ON rejected_items (rejected_at);
COMMENT ON TABLE rejected_items IS 'Items of a page that could not become rows; the rest of the page was stored.';
COMMENT ON COLUMN rejected_items.parent_id IS 'The item it was embedded in or listed for; NULL: it stood by itself.';
COMMENT ON COLUMN rejected_items.field IS 'The column or path that was wrong.';
COMMENT ON COLUMN rejected_items.item IS 'As the partner sent it.';
COMMENT ON COLUMN rejected_items.fingerprint IS 'Of run, place and item: a batch that is written twice leaves one row.';

CREATE TABLE alerts (
	id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	kind      text NOT NULL,
	severity  text NOT NULL CHECK (severity IN ('warning', 'critical')),
	scope     text NOT NULL,
	state     text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved')),
	since     timestamptz NOT NULL DEFAULT now(),
	last_seen timestamptz NOT NULL DEFAULT now(),
	resolved_at timestamptz,
	count     bigint NOT NULL DEFAULT 1,
	what      text NOT NULL,
	todo      text NOT NULL,
	UNIQUE (kind, scope)
);
CREATE INDEX alerts_open ON alerts (scope) WHERE state = 'open';
COMMENT ON TABLE alerts IS 'Causes of trouble, written by whoever finds one; one row per kind and scope, open until resolved.';
COMMENT ON COLUMN alerts.scope IS 'What it is about: integration:7, partner:guesty, fleet, …';
COMMENT ON COLUMN alerts.todo IS 'What a person should do.';
COMMENT ON COLUMN alerts.count IS 'How often it was seen since it opened.';
