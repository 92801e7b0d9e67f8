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

-- What people ask first knows of webhooks too.

CREATE OR REPLACE VIEW integration_health AS
SELECT i.id AS integration_id, c.name AS company, i.partner, i.environment, i.status,
	CASE
		WHEN i.status = 'auth_broken' THEN 'down'
		WHEN i.status = 'paused' THEN 'paused'
		WHEN a.critical > 0 THEN 'down'
		WHEN i.last_success_at IS NULL AND r.id IS NULL THEN 'new'
		WHEN r.state IN ('failed', 'incomplete') AND coalesce(i.last_success_at, i.created_at) < now() - interval '24 hours' THEN 'down'
		WHEN r.state IN ('failed', 'incomplete') OR d.dead > 0 OR a.open > 0 OR w.failed > 0 THEN 'degraded'
		WHEN i.last_success_at < now() - interval '24 hours' THEN 'degraded'
		ELSE 'healthy'
	END AS health,
	CASE
		WHEN i.status <> 'active' THEN coalesce(i.status_reason, i.status)
		WHEN a.open > 0 THEN a.what
		WHEN i.last_success_at IS NULL AND r.id IS NULL THEN 'nothing was imported yet'
		WHEN r.state IN ('failed', 'incomplete') THEN 'the last run ended ' || r.state || coalesce(': ' || r.note, '')
		WHEN d.dead > 0 THEN d.dead || ' dead letters in the last 24 hours'
		WHEN w.failed > 0 THEN w.failed || ' webhooks failed in the last 24 hours'
		WHEN i.last_success_at < now() - interval '24 hours' THEN 'no import has ended well for 24 hours'
	END AS why,
	i.last_success_at, r.state AS last_run_state, r.started_at AS last_run_at, d.dead AS dead_letters_24h, a.open AS open_alerts,
	w.failed AS webhooks_failed_24h
FROM integrations i
LEFT JOIN companies c ON c.id = i.company_id
LEFT JOIN LATERAL (SELECT id, state, note, started_at FROM runs WHERE integration_id = i.id AND state <> 'running'
	ORDER BY id DESC LIMIT 1) r ON true
LEFT JOIN LATERAL (SELECT count(*) AS dead FROM dead_letters
	WHERE integration_id = i.id AND state = 'dead' AND failed_at > now() - interval '24 hours') d ON true
LEFT JOIN LATERAL (SELECT count(*) AS failed FROM webhook_events
	WHERE integration_id = i.id AND state = 'failed' AND received_at > now() - interval '24 hours') w ON true
LEFT JOIN LATERAL (SELECT count(*) AS open, count(*) FILTER (WHERE severity = 'critical') AS critical,
	(array_agg(what ORDER BY severity = 'critical' DESC, since))[1] AS what
	FROM alerts WHERE scope = 'integration:' || i.id AND state = 'open') a ON true;

CREATE OR REPLACE VIEW dead_letter_patterns AS
SELECT source, partner, class, task, pattern, count(*) AS count, count(DISTINCT integration_id) AS integrations,
	min(at) AS first_at, max(at) AS last_at, (array_agg(id ORDER BY at DESC))[1] AS latest
FROM (
	SELECT 'dead_letter' AS source, partner, class, task, id, integration_id, failed_at AS at,
		regexp_replace(left(error, 200), '[0-9a-fA-F-]{12,}|[0-9A-HJKMNP-TV-Z]{26}|[0-9]+', '#', 'g') AS pattern
	FROM dead_letters WHERE failed_at > now() - interval '24 hours' AND state <> 'discarded'
	UNION ALL
	SELECT 'rejected_item', i.partner, 'data', x.collection, x.id::text, x.integration_id, x.rejected_at,
		concat_ws(': ', x.field, regexp_replace(left(x.reason, 200), '[0-9a-fA-F-]{12,}|[0-9]+', '#', 'g'))
	FROM rejected_items x LEFT JOIN integrations i ON i.id = x.integration_id
	WHERE x.rejected_at > now() - interval '24 hours'
	UNION ALL
	SELECT 'webhook', partner, NULL, event, event_id COLLATE "default", integration_id, received_at,
		regexp_replace(left(reason, 200), '[0-9a-fA-F-]{12,}|[0-9]+', '#', 'g')
	FROM webhook_events WHERE state = 'failed' AND received_at > now() - interval '24 hours'
) p
GROUP BY source, partner, class, task, pattern
ORDER BY count DESC;
COMMENT ON VIEW dead_letter_patterns IS 'What failed in the last 24 hours (dead letters, items set aside, webhooks), alike failures together, most frequent first; ids and numbers in texts are #.';
