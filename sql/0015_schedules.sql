-- When each integration is imported by the clock, and who has paused what until when.

CREATE TABLE import_schedules (
	integration_id bigint PRIMARY KEY REFERENCES integrations (id) ON DELETE CASCADE,
	version        bigint NOT NULL DEFAULT 0,
	plan           text,
	strategy       text,
	every          text,
	full_every     interval,
	reason         text,
	next_at        timestamptz(3),
	next_mode      text,
	last_slot      timestamptz(3),
	last_mode      text,
	started_at     timestamptz,
	full_slot      timestamptz(3),
	missed         bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX import_schedules_next ON import_schedules (next_at, integration_id) WHERE next_at IS NOT NULL;
CREATE INDEX import_schedules_unplanned ON import_schedules (integration_id) WHERE plan IS NULL;
COMMENT ON TABLE import_schedules IS 'Of each integration when it is imported next, written by the leading scheduler; the view schedules shows it.';
COMMENT ON COLUMN import_schedules.version IS 'Grows when settings change, so that a plan made of older ones is not written.';
COMMENT ON COLUMN import_schedules.plan IS 'What settings and manifest come to; NULL: to be made anew.';
COMMENT ON COLUMN import_schedules.strategy IS 'none | webhook | incremental | full | daily.';
COMMENT ON COLUMN import_schedules.every IS 'Time between two starts, or five fields as in crontab.';
COMMENT ON COLUMN import_schedules.full_every IS 'Longest time between two full imports, which see what was deleted; NULL: all are full, or none needs to be.';
COMMENT ON COLUMN import_schedules.reason IS 'Why it is so: what the manifest can do, or that somebody set it; or what is wrong with the settings.';
COMMENT ON COLUMN import_schedules.next_at IS 'The earliest start that was not made yet; in the past: it waits, or is owed. NULL: none by the clock. To the millisecond: slots are compared.';
COMMENT ON COLUMN import_schedules.next_mode IS 'full | incremental.';
COMMENT ON COLUMN import_schedules.last_slot IS 'The newest start that was made, by its time in the schedule; with the integration its name: it is made once.';
COMMENT ON COLUMN import_schedules.started_at IS 'When that was queued.';
COMMENT ON COLUMN import_schedules.full_slot IS 'The newest start of a full import.';
COMMENT ON COLUMN import_schedules.missed IS 'Starts that were not made since: paused, behind a breaker, nobody there; catch_up says whether one stood for them.';

-- Settings that change are planned anew, whoever changes them.
CREATE FUNCTION import_schedule_stale() RETURNS trigger LANGUAGE plpgsql AS $stale$
BEGIN
	IF TG_OP = 'INSERT' OR OLD.settings <> NEW.settings OR OLD.partner <> NEW.partner THEN
		INSERT INTO import_schedules (integration_id) VALUES (NEW.id)
		ON CONFLICT (integration_id) DO UPDATE SET plan = NULL, version = import_schedules.version + 1;
	END IF;
	RETURN NULL;
END $stale$;
CREATE TRIGGER integrations_schedule AFTER INSERT OR UPDATE OF settings, partner ON integrations
	FOR EACH ROW EXECUTE FUNCTION import_schedule_stale();
INSERT INTO import_schedules (integration_id) SELECT id FROM integrations;

ALTER TABLE integrations ADD COLUMN paused_by text, ADD COLUMN paused_until timestamptz;
CREATE INDEX integrations_paused_until ON integrations (paused_until) WHERE paused_until IS NOT NULL;
COMMENT ON COLUMN integrations.paused_by IS 'Who paused it; NULL: not paused, or by Longshore.';
COMMENT ON COLUMN integrations.paused_until IS 'When the pause ends by itself; NULL: when somebody resumes it.';
ALTER TABLE partner_states ADD COLUMN paused_by text, ADD COLUMN paused_until timestamptz;
COMMENT ON COLUMN partner_states.paused_by IS 'Who paused it; NULL: not paused, or by Longshore.';
COMMENT ON COLUMN partner_states.paused_until IS 'When the pause ends by itself; NULL: when somebody resumes it.';

CREATE TABLE scheduling (
	one          boolean PRIMARY KEY DEFAULT true CHECK (one),
	paused       boolean NOT NULL DEFAULT false,
	pause_reason text,
	paused_at    timestamptz,
	paused_by    text,
	paused_until timestamptz
);
INSERT INTO scheduling DEFAULT VALUES;
COMMENT ON TABLE scheduling IS 'Whether anything is started by the clock at all; one row.';
COMMENT ON COLUMN scheduling.paused IS 'Nothing is; what falls due meanwhile is owed.';
COMMENT ON COLUMN scheduling.paused_until IS 'When that ends by itself; NULL: when somebody resumes it.';

CREATE VIEW pauses AS
SELECT 'scheduling' AS level, NULL::text AS partner, NULL::bigint AS integration_id, pause_reason AS reason, paused_by AS by,
	paused_at AS since, paused_until AS until
FROM scheduling WHERE paused
UNION ALL
SELECT 'partner', partner, NULL, pause_reason, paused_by, paused_at, paused_until FROM partner_states WHERE paused
UNION ALL
SELECT 'integration', partner, id, status_reason, paused_by, status_since, paused_until FROM integrations WHERE status = 'paused';
COMMENT ON VIEW pauses IS 'What is paused: scheduling as a whole, partners, integrations; why, by whom, until when.';

CREATE VIEW schedules AS
SELECT s.integration_id, c.name AS company, i.partner, s.strategy, s.every, s.full_every, s.reason, s.next_at, s.next_mode,
	CASE
		WHEN s.plan IS NULL THEN 'no scheduler has looked at it yet'
		WHEN s.next_at IS NULL THEN NULL
		WHEN i.status <> 'active' THEN 'integration ' || i.status || coalesce(': ' || i.status_reason, '')
		WHEN p.paused THEN 'partner paused' || coalesce(': ' || p.pause_reason, '')
		WHEN g.paused THEN 'scheduling paused' || coalesce(': ' || g.pause_reason, '')
	END AS held_by,
	s.last_slot AS last_at, s.last_mode, s.started_at AS last_started_at, s.full_slot AS last_full_at, s.missed
FROM import_schedules s
JOIN integrations i ON i.id = s.integration_id
LEFT JOIN companies c ON c.id = i.company_id
LEFT JOIN partner_states p ON p.partner = i.partner
CROSS JOIN scheduling g;
COMMENT ON VIEW schedules IS 'What is imported next, when and why then; what holds it up. ORDER BY next_at: what is next of all.';
