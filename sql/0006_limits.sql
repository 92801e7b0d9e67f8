-- Jobs that crash workers stand as an alert for as long as their letters are dead; jobs that need too much memory have a class.

CREATE INDEX dead_letters_poison ON dead_letters (partner) WHERE class = 'poison' AND state = 'dead';
COMMENT ON COLUMN dead_letters.class IS 'transient rate_limit client auth data internal limit memory poison expired bad_job; purged and cancelled: by hand, state discarded.';
