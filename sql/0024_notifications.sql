-- Notifications: who is told what over which channel, in what order, and what became of each attempt.

CREATE TABLE notify_settings (
	company_id  bigint PRIMARY KEY,
	channels    bigint[] NOT NULL CHECK (cardinality(channels) BETWEEN 1 AND 8),
	patience_ms bigint NOT NULL CHECK (patience_ms BETWEEN 1000 AND 31622400000),
	quiet_from  time,
	quiet_until time,
	tz          text NOT NULL DEFAULT 'UTC',
	rate        bigint CHECK (rate > 0),
	rate_ms     bigint CHECK (rate_ms > 0),
	updated_at  timestamptz NOT NULL DEFAULT now(),
	CHECK ((quiet_from IS NULL) = (quiet_until IS NULL)),
	CHECK ((rate IS NULL) = (rate_ms IS NULL))
);
COMMENT ON TABLE notify_settings IS 'How each company''s notifications go; `longshore notify channels` writes it.';
COMMENT ON COLUMN notify_settings.channels IS 'Its integrations with channels, the first choice first.';
COMMENT ON COLUMN notify_settings.patience_ms IS 'How long one channel is tried before the next is.';
COMMENT ON COLUMN notify_settings.quiet_from IS 'From then to quiet_until, by the clocks of tz, nothing is sent but what is urgent.';
COMMENT ON COLUMN notify_settings.rate IS 'At most so many to one recipient in rate_ms; what is more waits.';

CREATE TABLE notify_templates (
	company_id bigint,
	name       text NOT NULL CHECK (name <> ''),
	parts      jsonb NOT NULL CHECK (jsonb_typeof(parts) = 'object'),
	updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX notify_templates_name ON notify_templates (coalesce(company_id, 0), name);
COMMENT ON TABLE notify_templates IS 'What notifications say: {"email": {"subject": …, "text": …}, "sms": {"text": …}}; {name} is a value. company_id NULL: everybody''s.';

CREATE TABLE notifications (
	id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	company_id  bigint NOT NULL,
	entry       text NOT NULL UNIQUE,
	fingerprint text NOT NULL,
	template    text NOT NULL,
	recipient   text NOT NULL,
	plan        json NOT NULL,
	state       text NOT NULL DEFAULT 'sending' CHECK (state IN ('sending', 'sent', 'failed')),
	attempt     bigint NOT NULL DEFAULT 0,
	attempts    bigint NOT NULL,
	urgent      boolean NOT NULL DEFAULT false,
	in_doubt    boolean NOT NULL DEFAULT false,
	job_id      text,
	created_at  timestamptz NOT NULL DEFAULT now(),
	send_at     timestamptz NOT NULL,
	finished_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX notifications_recipient ON notifications (company_id, recipient, send_at DESC);
CREATE INDEX notifications_unbegun ON notifications (id) WHERE state = 'sending' AND attempt = 0;
COMMENT ON TABLE notifications IS 'One row for what one recipient is told once; notification_outcomes has an attempt a row.';
COMMENT ON COLUMN notifications.entry IS 'What makes it one: a hash of the caller''s key and the recipient, or the job.';
COMMENT ON COLUMN notifications.recipient IS 'Whose rate it counts in: the recipient''s id, else its first address.';
COMMENT ON COLUMN notifications.plan IS 'The channels that it may go by, in order, each with what its action is given.';
COMMENT ON COLUMN notifications.attempt IS 'The one that is under way, or was last; 0: none yet.';
COMMENT ON COLUMN notifications.in_doubt IS 'Rather twice than not at all: an attempt of which nobody knows is followed by the next channel.';
COMMENT ON COLUMN notifications.send_at IS 'Not before: the rate, and quiet hours.';

CREATE TABLE notification_attempts (
	notification_id bigint NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
	attempt         bigint NOT NULL,
	channel         text NOT NULL,
	integration_id  bigint NOT NULL,
	request_id      bigint NOT NULL UNIQUE,
	created_at      timestamptz NOT NULL DEFAULT now(),
	delivery        text CHECK (delivery IN ('sent', 'delivered', 'failed')),
	delivery_at     timestamptz,
	delivery_reason text,
	PRIMARY KEY (notification_id, attempt)
);
COMMENT ON TABLE notification_attempts IS 'One row for each channel that a notification was tried by; outbound_requests has what became of the sending.';
COMMENT ON COLUMN notification_attempts.delivery IS 'What the partner told of it since, by webhook: sent (on its way) | delivered | failed (bounced, refused). NULL: nothing.';

ALTER TABLE outbound_requests ADD COLUMN notification_id bigint, ADD COLUMN tells text CHECK (tells IN ('end', 'doubt', 'bounce'));
CREATE INDEX outbound_requests_tells ON outbound_requests (id) WHERE tells IS NOT NULL
	AND (state IN ('done', 'failed', 'undone') OR (state = 'unknown' AND tells = 'doubt'));
CREATE INDEX outbound_requests_patience ON outbound_requests (deadline_at) WHERE tells IS NOT NULL AND state = 'pending';
COMMENT ON COLUMN outbound_requests.tells IS 'Its notification goes on when it has ended: end | doubt (also as unknown) | bounce (it was sent, and did not arrive). NULL: nobody waits.';

-- The first instant at or after t that is not quiet.
CREATE FUNCTION notify_after_quiet(t timestamptz, quiet_from time, quiet_until time, tz text) RETURNS timestamptz
	LANGUAGE sql STABLE AS $$
	SELECT CASE
		WHEN quiet_from IS NULL OR quiet_from = quiet_until THEN t
		WHEN quiet_from < quiet_until AND l.at::time >= quiet_from AND l.at::time < quiet_until
			THEN (l.at::date + quiet_until) AT TIME ZONE tz
		WHEN quiet_from > quiet_until AND l.at::time >= quiet_from THEN (l.at::date + 1 + quiet_until) AT TIME ZONE tz
		WHEN quiet_from > quiet_until AND l.at::time < quiet_until THEN (l.at::date + quiet_until) AT TIME ZONE tz
		ELSE t END
	FROM (SELECT t AT TIME ZONE tz AS at) l
$$;

CREATE VIEW notification_outcomes AS
SELECT n.id, c.name AS company, n.template, n.recipient,
	CASE WHEN n.state = 'sending' AND o.state = 'unknown' AND a.attempt = n.attempt THEN 'unknown' ELSE n.state END AS state,
	a.attempt, a.channel, o.partner, a.integration_id, o.state AS outcome, a.delivery, a.delivery_reason,
	o.class, o.error, o.external_id, o.attempts AS tries, o.next_try_at, n.send_at, a.created_at, o.finished_at, a.delivery_at,
	a.request_id, n.company_id
FROM notifications n
LEFT JOIN companies c ON c.id = n.company_id
LEFT JOIN notification_attempts a ON a.notification_id = n.id
LEFT JOIN outbound_requests o ON o.id = a.request_id;
COMMENT ON VIEW notification_outcomes IS 'Each attempt at each notification: over which channel, what became of it, and what the partner told since.';
