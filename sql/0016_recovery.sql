-- What is done with a lane that an outage filled: how it is set by hand, and what came of the last time.

CREATE TABLE queue_recoveries (
	partner    text NOT NULL,
	lane       text NOT NULL CHECK (lane IN ('high', 'normal', 'low')),
	strategy   text CHECK (strategy IN ('purge', 'drain', 'pause', 'off')),
	over       bigint CHECK (over > 0),
	since      timestamptz,
	ended_at   timestamptz,
	deepest    bigint NOT NULL DEFAULT 0,
	shed       bigint NOT NULL DEFAULT 0,
	fresh      bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (partner, lane)
);
COMMENT ON TABLE queue_recoveries IS 'Lanes over their bound, and what was done about it; `longshore queue recovery` shows and sets it.';
COMMENT ON COLUMN queue_recoveries.partner IS 'The partner of the queue, or longshore.';
COMMENT ON COLUMN queue_recoveries.strategy IS 'purge | drain | pause | off, set by hand; NULL: what is usual for the lane.';
COMMENT ON COLUMN queue_recoveries.over IS 'Jobs that could run over which it begins, set by hand; NULL: the scheduler''s --recovery-over.';
COMMENT ON COLUMN queue_recoveries.since IS 'It is under way since then; NULL: it is not.';
COMMENT ON COLUMN queue_recoveries.ended_at IS 'When the last one was over.';
COMMENT ON COLUMN queue_recoveries.deepest IS 'Of the present one, or the last: most jobs that could run.';
COMMENT ON COLUMN queue_recoveries.shed IS 'Of the present one, or the last: imports that were taken out, for another one of the same kind waits.';
COMMENT ON COLUMN queue_recoveries.fresh IS 'Of the present one, or the last: imports that were queued in their place.';
