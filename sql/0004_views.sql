-- Answers to the questions people ask first.

CREATE VIEW integration_health AS
SELECT i.id AS integration_id, c.name AS company, i.partner, i.environment, i.status,
	CASE
		WHEN i.status = 'auth_broken' THEN 'down'
		WHEN i.status = 'paused' THEN 'paused'
		WHEN a.critical > 0 THEN 'down'
		WHEN i.last_success_at IS NULL AND r.id IS NULL THEN 'new'
		WHEN r.state IN ('failed', 'incomplete') AND coalesce(i.last_success_at, i.created_at) < now() - interval '24 hours' THEN 'down'
		WHEN r.state IN ('failed', 'incomplete') OR d.dead > 0 OR a.open > 0 THEN 'degraded'
		WHEN i.last_success_at < now() - interval '24 hours' THEN 'degraded'
		ELSE 'healthy'
	END AS health,
	CASE
		WHEN i.status <> 'active' THEN coalesce(i.status_reason, i.status)
		WHEN a.open > 0 THEN a.what
		WHEN i.last_success_at IS NULL AND r.id IS NULL THEN 'nothing was imported yet'
		WHEN r.state IN ('failed', 'incomplete') THEN 'the last run ended ' || r.state || coalesce(': ' || r.note, '')
		WHEN d.dead > 0 THEN d.dead || ' dead letters in the last 24 hours'
		WHEN i.last_success_at < now() - interval '24 hours' THEN 'no import has ended well for 24 hours'
	END AS why,
	i.last_success_at, r.state AS last_run_state, r.started_at AS last_run_at, d.dead AS dead_letters_24h, a.open AS open_alerts
FROM integrations i
LEFT JOIN companies c ON c.id = i.company_id
LEFT JOIN LATERAL (SELECT id, state, note, started_at FROM runs WHERE integration_id = i.id AND state <> 'running'
	ORDER BY id DESC LIMIT 1) r ON true
LEFT JOIN LATERAL (SELECT count(*) AS dead FROM dead_letters
	WHERE integration_id = i.id AND state = 'dead' AND failed_at > now() - interval '24 hours') d ON true
LEFT JOIN LATERAL (SELECT count(*) AS open, count(*) FILTER (WHERE severity = 'critical') AS critical,
	(array_agg(what ORDER BY severity = 'critical' DESC, since))[1] AS what
	FROM alerts WHERE scope = 'integration:' || i.id AND state = 'open') a ON true;
COMMENT ON VIEW integration_health IS 'Each integration: healthy, degraded, down, paused or new, and why.';

CREATE VIEW dead_letter_patterns AS
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
) p
GROUP BY source, partner, class, task, pattern
ORDER BY count DESC;
COMMENT ON VIEW dead_letter_patterns IS 'What failed in the last 24 hours, alike failures together, most frequent first; ids and numbers in texts are #.';

CREATE VIEW run_progress AS
SELECT r.id AS run_id, r.root_id, r.integration_id, c.name AS company, i.partner, r.task, r.collection, r.mode, r.state,
	r.processed, r.total, CASE WHEN r.total > 0 THEN round(100.0 * least(r.processed, r.total) / r.total, 1) END AS percent,
	r.added, r.updated, r.unchanged, r.stale, r.undeleted, r.deleted, r.failed, r.pages, r.calls,
	date_trunc('second', coalesce(r.finished_at, now()) - r.started_at) AS duration,
	round((r.processed / greatest(extract(epoch FROM r.updated_at - r.started_at), 0.001))::numeric, 1) AS per_second,
	CASE WHEN r.state = 'running' AND r.processed > 0 AND r.total > r.processed THEN
		date_trunc('second', (r.updated_at - r.started_at) * ((r.total - r.processed)::double precision / r.processed))
	END AS remaining,
	r.started_at, r.finished_at, r.worker, r.note
FROM runs r
LEFT JOIN integrations i ON i.id = r.integration_id
LEFT JOIN companies c ON c.id = i.company_id
WHERE r.state = 'running' OR r.started_at > now() - interval '24 hours'
ORDER BY r.id DESC;
COMMENT ON VIEW run_progress IS 'Runs under way and those of the last 24 hours: how far, how fast, how long still.';
