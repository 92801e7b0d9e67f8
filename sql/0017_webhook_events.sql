-- What partners told us by themselves, and what became of it; where we are registered to be told.

CREATE TABLE webhook_events (
	integration_id bigint NOT NULL,
	event_id       text COLLATE "C" NOT NULL,
	partner        text NOT NULL,
	event          text NOT NULL,
	action         text,
	collection     text,
	row_table      text,
	external_id    text COLLATE "C",
	happened_at    timestamptz,
	received_at    timestamptz NOT NULL,
	believed       boolean NOT NULL,
	state          text NOT NULL CHECK (state IN ('received', 'waiting', 'unmatched', 'done', 'coalesced', 'stale', 'ignored', 'unknown', 'failed')),
	reason         text,
	attempts       bigint NOT NULL DEFAULT 0,
	processed_at   timestamptz,
	job_id         text,
	generation     bigint NOT NULL DEFAULT 0,
	body           json,
	PRIMARY KEY (integration_id, event_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
CREATE INDEX webhook_events_received ON webhook_events (received_at);
CREATE INDEX webhook_events_unmatched ON webhook_events (integration_id, event_id) WHERE state = 'unmatched';
CREATE INDEX webhook_events_failed ON webhook_events (integration_id, received_at) WHERE state = 'failed';
COMMENT ON TABLE webhook_events IS 'What partners told us by themselves; `longshore webhook replay` has events done once more.';
COMMENT ON COLUMN webhook_events.event_id IS 'The partner''s own, or hash:… of what the manifest says; one that comes again after a day takes the row over.';
COMMENT ON COLUMN webhook_events.event IS 'The partner''s name for it.';
COMMENT ON COLUMN webhook_events.action IS 'What the manifest makes of it: fetch upsert delete auth_revoked credentials_rotated ignore; NULL: it names no such event.';
COMMENT ON COLUMN webhook_events.row_table IS 'Where rows of that collection stand: resources, transactions or media.';
COMMENT ON COLUMN webhook_events.external_id IS 'Whom it is about, as in the row tables; NULL: nobody, or it was not found in the body.';
COMMENT ON COLUMN webhook_events.happened_at IS 'The event''s own time, by the partner''s clock; NULL: it says none. News is ordered by this, or by fetching, never by received_at.';
COMMENT ON COLUMN webhook_events.received_at IS 'When it came in, by Redis'' clock.';
COMMENT ON COLUMN webhook_events.believed IS 'false: the partner signs nothing, so the record is read again whatever the event says.';
COMMENT ON COLUMN webhook_events.state IS 'received (a job has it) | waiting (its record is not there yet; tried again within the minute) | unmatched (it never came; done as soon as it does) | done | coalesced (needed no call: what is held was read after it came in) | stale (older than what is held) | ignored (as the manifest says) | unknown (the manifest names no such event) | failed (see reason, and dead_letters).';
COMMENT ON COLUMN webhook_events.reason IS 'Why it is in that state, where that is not plain.';
COMMENT ON COLUMN webhook_events.attempts IS 'How often it was done, or tried in vain for want of its record.';
COMMENT ON COLUMN webhook_events.processed_at IS 'When it came into this state; NULL: not yet done.';
COMMENT ON COLUMN webhook_events.generation IS 'Of the partner''s Redis keys, when the row was written: an event that is still open in an older one was lost with Redis, and is queued again.';
COMMENT ON COLUMN webhook_events.body IS 'As it came: whole where it is written into rows (upsert); else what the manifest marks as personal is blanked. NULL: it held credentials.';

CREATE TABLE webhook_registrations (
	integration_id bigint PRIMARY KEY REFERENCES integrations (id) ON DELETE CASCADE,
	callback_url   text NOT NULL,
	webhook_id     text,
	state          text NOT NULL CHECK (state IN ('registering', 'registered', 'missing')),
	reason         text,
	registered_at  timestamptz,
	checked_at     timestamptz,
	check_after    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_registrations_due ON webhook_registrations (check_after);
COMMENT ON TABLE webhook_registrations IS 'Where partners were told to send webhooks (longshore webhook register); the leading scheduler looks daily whether that still stands, and repairs it.';
COMMENT ON COLUMN webhook_registrations.callback_url IS 'What the partner calls; of partners that sign nothing its last part is a secret, and stands here as *.';
COMMENT ON COLUMN webhook_registrations.webhook_id IS 'The partner''s name for the registration; NULL: it tells none.';
COMMENT ON COLUMN webhook_registrations.state IS 'registering (begun; whoever comes next finishes it) | registered | missing (the last look did not find it, and it could not be repaired; see reason).';
COMMENT ON COLUMN webhook_registrations.check_after IS 'When it is looked at next.';
