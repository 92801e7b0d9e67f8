-- The end of runs, their progress, and outcomes that a job asked to keep.

ALTER TABLE runs
	ADD COLUMN worker_peak_bytes bigint,
	ADD COLUMN home text,
	ADD COLUMN on_done json,
	ADD COLUMN ended_at timestamptz,
	ADD COLUMN ended text CHECK (ended IN ('done', 'failed', 'unknown')),
	ADD COLUMN descendants_done bigint,
	ADD COLUMN descendants_dead bigint,
	ADD COLUMN descendants_dropped bigint,
	ADD COLUMN on_done_at timestamptz;
CREATE INDEX runs_open ON runs (updated_at) WHERE home IS NOT NULL AND ended_at IS NULL;
COMMENT ON COLUMN runs.worker_peak_bytes IS 'Most resident memory that the worker process was seen with at this run''s pages; other jobs share it.';
COMMENT ON COLUMN runs.home IS 'Of the run that began others: the partner in whose Redis slot the open ones are; NULL: it began none.';
COMMENT ON COLUMN runs.on_done IS 'The task to queue when the run and all its descendants have ended.';
COMMENT ON COLUMN runs.ended_at IS 'When the last descendant had ended (finished_at: this row''s own job).';
COMMENT ON COLUMN runs.ended IS 'done | failed (it or a descendant died) | unknown (Redis lost what was open).';
COMMENT ON COLUMN runs.descendants_dropped IS 'Not run at all: duplicate, stale, superseded, expired.';
COMMENT ON COLUMN runs.on_done_at IS 'When the task of on_done was queued.';

CREATE TABLE outcomes (
	queue          text NOT NULL,
	job_id         text NOT NULL,
	task           text,
	integration_id bigint,
	run_id         bigint,
	state          text NOT NULL CHECK (state IN ('done', 'dead', 'dropped')),
	why            text,
	class          text,
	error          text,
	result         json,
	attempts       bigint NOT NULL,
	worker         text,
	first_seen     timestamptz NOT NULL,
	ended_at       timestamptz NOT NULL,
	PRIMARY KEY (queue, job_id)
) WITH (fillfactor = 90);
CREATE INDEX outcomes_when ON outcomes (ended_at);
COMMENT ON TABLE outcomes IS 'How jobs ended that asked for it ("record": true); of an id that is used again, the last one.';
COMMENT ON COLUMN outcomes.queue IS 'The partner of the queue, or longshore.';
COMMENT ON COLUMN outcomes.why IS 'Of a dropped one: duplicate, replaced, stale, superseded or expired.';
COMMENT ON COLUMN outcomes.result IS 'The task''s own figures: its run and what became of the rows.';

CREATE OR REPLACE VIEW run_progress AS
SELECT r.id AS run_id, r.root_id, r.integration_id, c.name AS company, i.partner, r.task, r.collection, r.mode, r.state,
	r.processed, r.total, CASE WHEN r.total > 0 THEN round(100.0 * least(r.processed, r.total) / r.total, 1) END AS percent,
	r.added, r.updated, r.unchanged, r.stale, r.undeleted, r.deleted, r.failed, r.pages, r.calls,
	date_trunc('second', coalesce(r.finished_at, now()) - r.started_at) AS duration,
	round((r.processed / greatest(extract(epoch FROM r.updated_at - r.started_at), 0.001))::numeric, 1) AS per_second,
	CASE WHEN r.state = 'running' AND r.processed > 0 AND r.total > r.processed THEN
		date_trunc('second', (r.updated_at - r.started_at) * ((r.total - r.processed)::double precision / r.processed))
	END AS remaining,
	r.started_at, r.finished_at, r.worker, r.note,
	r.worker_peak_bytes, r.ended, r.ended_at, r.descendants_done, r.descendants_dead, r.descendants_dropped
FROM runs r
LEFT JOIN integrations i ON i.id = r.integration_id
LEFT JOIN companies c ON c.id = i.company_id
WHERE r.state = 'running' OR r.started_at > now() - interval '24 hours' OR (r.home IS NOT NULL AND r.ended_at IS NULL)
ORDER BY r.id DESC;
