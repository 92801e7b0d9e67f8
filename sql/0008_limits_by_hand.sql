-- Limits that a person set in the place of the manifest's: they outlive Redis, which is told of them.

CREATE TABLE limit_overrides (
	partner        text NOT NULL,
	name           text NOT NULL,
	window_ms      bigint NOT NULL CHECK (window_ms > 0),
	calls          bigint NOT NULL CHECK (calls > 0),
	scope          text NOT NULL,
	integration_id bigint,
	set_at         timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (partner, name, window_ms)
);
COMMENT ON TABLE limit_overrides IS 'Calls a window, set by hand (longshore limit set) in the place of what the manifest says.';
COMMENT ON COLUMN limit_overrides.name IS 'The scope as Redis knows it: API host and whose limit it is.';
COMMENT ON COLUMN limit_overrides.scope IS 'The same in the words of the command: partner, integration, egress, endpoints:GROUP.';
COMMENT ON COLUMN limit_overrides.integration_id IS 'Which integration it was set for; others share what is the partner''s or the egress''.';
