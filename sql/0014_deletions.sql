-- Deletions that a scan would have made and did not, since they were too many: what `longshore run confirm-deletes` carries on from.

CREATE TABLE held_deletions (
	id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	run_id         bigint NOT NULL,
	integration_id bigint NOT NULL,
	collection     text NOT NULL,
	part           text NOT NULL DEFAULT '',
	whose          json NOT NULL,
	unseen_since   timestamptz NOT NULL,
	unseen         bigint NOT NULL,
	live           bigint NOT NULL,
	state          text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'confirmed', 'superseded')),
	deleted        bigint NOT NULL DEFAULT 0,
	held_at        timestamptz NOT NULL DEFAULT now(),
	ended_at       timestamptz,
	superseded_by  bigint,
	UNIQUE (run_id, collection, part)
);
CREATE INDEX held_deletions_open ON held_deletions (integration_id, collection) WHERE state = 'held';
COMMENT ON TABLE held_deletions IS 'Rows that a complete scan did not see, so many that they were kept until a person says that they are gone.';
COMMENT ON COLUMN held_deletions.part IS 'Of a scan by parents: which of them; empty: the whole collection.';
COMMENT ON COLUMN held_deletions.whose IS 'Whose rows: table, id_prefix, kind, parents; as the manifest was when they were scanned.';
COMMENT ON COLUMN held_deletions.unseen_since IS 'When the scan began: rows with an older observed_at are those that it did not see.';
COMMENT ON COLUMN held_deletions.unseen IS 'How many those were.';
COMMENT ON COLUMN held_deletions.live IS 'Of how many that were not deleted.';
COMMENT ON COLUMN held_deletions.superseded_by IS 'The run whose scan decided anew.';
COMMENT ON COLUMN held_deletions.state IS 'held | confirmed (they are marked deleted) | superseded (a later complete scan has decided anew).';
