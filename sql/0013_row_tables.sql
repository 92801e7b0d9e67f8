-- Rows spread over partitions by integration, their history, and links between ids that a partner changed.
--
-- Sixteen partitions each: an integration's rows lie in one of them, autovacuum goes over them side by side and none grows
-- past a sixteenth; a batch that touches all of them costs no more than one table did (measured, also with 32), and a
-- partition can be split in two by itself later (modulus 32, remainders r and r + 16).
--
-- Expand: the statements of the version before run on these tables too.  They read xmax of what they inserted, which
-- Postgres gives of a partitioned table only where a row is converted on its way into its partition.  It is where the two
-- lay their columns out differently, hence the column that is dropped before the partitions are made.  This version reads
-- no xmax and needs none of that: a dump that is restored has lost it, and nothing is amiss.
--
-- Half of each page is left free (fillfactor 50, 90 before).  A batch reads whole pages of rows again, all in one transaction: at 90
-- an eighth of them found room beside their old version, the others went to new pages and into every index.  At 50 all are HOT, which
-- costs a third of the processor time and a quarter of the WAL; and the table, measured after six readings, is less than half as large.
--
-- Each table is copied once, under a lock that readers and writers wait for; both need room for a while.

LOCK TABLE resources, transactions, media IN ACCESS EXCLUSIVE MODE;

DO $$
DECLARE
	t text;
	old text;
	rel oid;
	opts text;
	owner text;
	about text;
	x record;
	defs text[];
	grants text[];
BEGIN
	FOREACH t IN ARRAY ARRAY['resources', 'transactions', 'media'] LOOP
		rel := t::regclass;
		old := t || '_before_0013';
		SELECT replace(coalesce(array_to_string(reloptions, ', '), 'fillfactor=90'), 'fillfactor=90', 'fillfactor=50'), relowner::regrole::text, obj_description(oid)
			INTO opts, owner, about FROM pg_class WHERE oid = rel;
		FOR x IN SELECT 'the trigger ' || tgname AS what FROM pg_trigger WHERE tgrelid = rel AND NOT tgisinternal
			UNION ALL SELECT 'the policy ' || polname FROM pg_policy WHERE polrelid = rel
			UNION ALL SELECT 'the publication ' || p.pubname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
				WHERE r.prrelid = rel LOOP
			RAISE EXCEPTION '% has %, which is not Longshore''s and would be lost: drop it there, migrate, and make it again',
				t, x.what;
		END LOOP;
		SELECT array_agg(pg_get_indexdef(indexrelid)) INTO defs FROM pg_index WHERE indrelid = rel AND NOT indisprimary;
		SELECT array_agg(format('GRANT %s%s ON %I TO %s%s', a.privilege_type, c.col, t,
				CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
				CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)) INTO grants
			FROM (SELECT relacl AS acl, '' AS col FROM pg_class WHERE oid = rel
				UNION ALL SELECT attacl, format(' (%I)', attname) FROM pg_attribute WHERE attrelid = rel AND attacl IS NOT NULL) c,
				aclexplode(c.acl) a WHERE a.grantee <> owner::regrole;

		FOR x IN SELECT c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = rel LOOP
			EXECUTE format('ALTER INDEX %I RENAME TO %I', x.name, left(x.name, 50) || '_before_0013');
		END LOOP;
		EXECUTE format('ALTER TABLE %I RENAME TO %I', t, old);
		EXECUTE format('CREATE TABLE %I (layout_of_0013 int, LIKE %I INCLUDING DEFAULTS INCLUDING COMMENTS INCLUDING CONSTRAINTS,'
			' replaced_by text COLLATE "C", written smallint NOT NULL DEFAULT 0, change jsonb)'
			' PARTITION BY HASH (integration_id)', t, old);
		EXECUTE format('ALTER TABLE %I DROP COLUMN layout_of_0013', t);
		FOR i IN 0..15 LOOP
			EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 16, REMAINDER %s) WITH (%s)',
				t || '_' || i, t, i, opts);
			EXECUTE format('ALTER TABLE %I OWNER TO %s', t || '_' || i, owner);
		END LOOP;
		EXECUTE format('INSERT INTO %I SELECT *, NULL, 0, NULL FROM %I', t, old);
		EXECUTE format('DROP TABLE %I', old);
		EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (integration_id, external_id)', t);
		FOR i IN 1..coalesce(array_length(defs, 1), 0) LOOP
			EXECUTE defs[i];
		END LOOP;
		EXECUTE format('ALTER TABLE %I OWNER TO %s', t, owner);
		FOR i IN 1..coalesce(array_length(grants, 1), 0) LOOP
			EXECUTE grants[i];
		END LOOP;
		EXECUTE format('COMMENT ON TABLE %I IS %L', t, about);
		EXECUTE format('COMMENT ON COLUMN %I.replaced_by IS %L', t,
			'The id that the partner merged this one into, or split it to; NULL for all others. All links: id_links.');
		EXECUTE format('COMMENT ON COLUMN %I.written IS %L', t,
			'Longshore''s own: how the last write ended, for the statement that wrote it. Means nothing afterwards.');
		EXECUTE format('COMMENT ON COLUMN %I.change IS %L', t,
			'Longshore''s own: what the last write changed, on its way into the history. Means nothing afterwards.');
	END LOOP;
END $$;

-- ---- history ----

CREATE TABLE history_settings (
	table_name text PRIMARY KEY CHECK (table_name IN ('resources', 'transactions', 'media')),
	enabled    boolean NOT NULL,
	keep_days  integer NOT NULL DEFAULT 400 CHECK (keep_days BETWEEN 1 AND 36500),
	changed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO history_settings (table_name, enabled) VALUES ('resources', true), ('transactions', true), ('media', false);
COMMENT ON TABLE history_settings IS 'Of which row tables changes are kept, and for how long: `longshore history`.';
COMMENT ON COLUMN history_settings.enabled IS 'Workers look every few seconds. While it is off nothing is written, and state_at says what cannot be known.';
COMMENT ON COLUMN history_settings.keep_days IS 'A month is dropped when all of it is older.';

DO $$
DECLARE
	t text;
	h text;
BEGIN
	FOREACH t IN ARRAY ARRAY['resources', 'transactions', 'media'] LOOP
		h := CASE t WHEN 'media' THEN 'media' ELSE rtrim(t, 's') END || '_changes';
		EXECUTE format('CREATE TABLE %I ('
			' integration_id bigint NOT NULL,'
			' external_id text COLLATE "C" NOT NULL,'
			' version bigint NOT NULL,'
			' changed_at timestamptz NOT NULL,'
			' what text NOT NULL,'
			' source text,'
			' run_id bigint,'
			' changes jsonb,'
			' partner_updated_at timestamptz,'
			' observed_at timestamptz'
			') PARTITION BY RANGE (changed_at)', h);
		EXECUTE format('CREATE INDEX %I ON %I (integration_id, external_id, version)', h || '_row', h);
		EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', h || '_other', h);
		EXECUTE format('COMMENT ON TABLE %I IS %L', h, 'What changed in ' || t || ': one row a version, written with the row itself. Partitioned by month.');
		EXECUTE format('COMMENT ON TABLE %I IS %L', h || '_other', 'What came while its month had no partition: nothing is lost, and history_keep moves it where it belongs.');
		EXECUTE format('COMMENT ON COLUMN %I.version IS %L', h, 'The version that this change made.');
		EXECUTE format('COMMENT ON COLUMN %I.what IS %L', h, 'added | updated | deleted | undeleted | replaced (merged or split by the partner) | moved (its parent was).');
		EXECUTE format('COMMENT ON COLUMN %I.source IS %L', h, 'full | incremental | single | webhook | action | deletion | link; NULL: not told.');
		EXECUTE format('COMMENT ON COLUMN %I.run_id IS %L', h, 'runs.id of the writer, if it had one.');
		EXECUTE format('COMMENT ON COLUMN %I.changes IS %L', h, 'Only the columns that changed: {"status": ["pending", "confirmed"]}, old and new. NULL: added, all of it is new.');
		EXECUTE format('COMMENT ON COLUMN %I.partner_updated_at IS %L', h, 'The row''s after the change.');
		EXECUTE format('COMMENT ON COLUMN %I.observed_at IS %L', h, 'The row''s after the change.');
	END LOOP;
END $$;

-- Makes the partitions of this month and the next two, and of any month that has rows in the default partition (which are
-- moved), and drops what retention lets go.  Safe at any time and by several at once: only one works.  CREATE and ATTACH
-- instead of PARTITION OF, since that would stop all writers.
CREATE FUNCTION history_keep() RETURNS TABLE (part text, done text)
LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE
	s record;
	m timestamp;
	h text;
	spare text;
	x record;
BEGIN
	IF NOT pg_try_advisory_xact_lock(7813458210118) THEN
		RETURN;
	END IF;
	FOR s IN SELECT * FROM history_settings ORDER BY table_name LOOP
		h := CASE s.table_name WHEN 'media' THEN 'media' ELSE rtrim(s.table_name, 's') END || '_changes';
		spare := h || '_other';
		EXECUTE format('DELETE FROM %I WHERE changed_at < now() - make_interval(days => %s)', spare, s.keep_days);
		FOR m IN EXECUTE format('SELECT date_trunc(''month'', now() AT TIME ZONE ''UTC'') + make_interval(months => n) FROM generate_series(0, 2) n'
			' UNION SELECT date_trunc(''month'', changed_at AT TIME ZONE ''UTC'') FROM %I ORDER BY 1', spare) LOOP
			part := h || to_char(m, '"_y"YYYY"m"MM');
			CONTINUE WHEN to_regclass(quote_ident(part)) IS NOT NULL;
			EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', spare);
			EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, h);
			EXECUTE format('WITH moved AS (DELETE FROM %I WHERE changed_at >= %L AND changed_at < %L RETURNING *)'
				' INSERT INTO %I SELECT * FROM moved', spare, m AT TIME ZONE 'UTC',
				(m + interval '1 month') AT TIME ZONE 'UTC', part);
			EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', h, part,
				m AT TIME ZONE 'UTC', (m + interval '1 month') AT TIME ZONE 'UTC');
			done := 'made';
			RETURN NEXT;
		END LOOP;
		FOR x IN SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
			WHERE i.inhparent = h::regclass AND c.relname ~ '_y[0-9]{4}m[0-9]{2}$' ORDER BY 1 LOOP
			m := to_date(right(x.name, 7), 'YYYY"m"MM') + interval '1 month';
			CONTINUE WHEN m AT TIME ZONE 'UTC' > now() - make_interval(days => s.keep_days);
			EXECUTE format('DROP TABLE %I', x.name);
			part := x.name;
			done := 'dropped';
			RETURN NEXT;
		END LOOP;
	END LOOP;
END $$;
COMMENT ON FUNCTION history_keep() IS 'Makes the history''s partitions ahead and drops those that retention lets go; the leading scheduler calls it.';
SELECT history_keep();

-- A row as it stood at an instant: today's, with what changed since put back.  NULL: it was not there yet.  Where history
-- has a hole (it was off, or that month is gone, or somebody wrote by hand) it refuses rather than guess.
CREATE FUNCTION state_at(row_now jsonb, history regclass, moment timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v bigint := (row_now ->> 'version')::bigint;
	since timestamptz := (row_now ->> 'changed_at')::timestamptz;
	seen timestamptz := (row_now ->> 'first_seen_at')::timestamptz;
	c record;
BEGIN
	IF row_now IS NULL OR moment < seen THEN
		RETURN NULL;
	END IF;
	FOR c IN EXECUTE format('SELECT version, changed_at, changes, partner_updated_at, observed_at FROM %s'
		' WHERE integration_id = $1 AND external_id = $2 ORDER BY version DESC, changed_at DESC', history)
		USING (row_now ->> 'integration_id')::bigint, row_now ->> 'external_id' LOOP
		EXIT WHEN c.version < v;
		CONTINUE WHEN c.version > v;
		since := c.changed_at;
		row_now := row_now || jsonb_build_object('version', v, 'changed_at', c.changed_at,
			'partner_updated_at', c.partner_updated_at, 'observed_at', c.observed_at);
		EXIT WHEN since <= moment;
		row_now := row_now || coalesce((SELECT jsonb_object_agg(key, value -> 0) FROM jsonb_each(c.changes)), '{}');
		v := v - 1;
		since := CASE WHEN v = 1 THEN seen END;
		row_now := row_now || jsonb_build_object('version', v, 'changed_at', seen, 'partner_updated_at', NULL, 'observed_at', NULL);
	END LOOP;
	IF since IS NULL OR since > moment THEN
		RAISE EXCEPTION '%: what % was at % is not known: its change to version % is not there (history was off, or is no longer kept)',
			history, row_now ->> 'external_id', moment, v;
	END IF;
	RETURN row_now;
END $$;
COMMENT ON FUNCTION state_at(jsonb, regclass, timestamptz) IS 'What resource_at, transaction_at and media_at are made of.';

CREATE FUNCTION resource_at(integration bigint, id text, moment timestamptz) RETURNS SETOF resources LANGUAGE sql STABLE AS $$
	SELECT p.* FROM resources r, state_at(to_jsonb(r) - 'change', 'resource_changes', moment) s,
		jsonb_populate_record(NULL::resources, s) p
	WHERE r.integration_id = integration AND r.external_id = id AND s IS NOT NULL
$$;
CREATE FUNCTION transaction_at(integration bigint, id text, moment timestamptz) RETURNS SETOF transactions LANGUAGE sql STABLE AS $$
	SELECT p.* FROM transactions r, state_at(to_jsonb(r) - 'change', 'transaction_changes', moment) s,
		jsonb_populate_record(NULL::transactions, s) p
	WHERE r.integration_id = integration AND r.external_id = id AND s IS NOT NULL
$$;
CREATE FUNCTION media_at(integration bigint, id text, moment timestamptz) RETURNS SETOF media LANGUAGE sql STABLE AS $$
	SELECT p.* FROM media r, state_at(to_jsonb(r) - 'change', 'media_changes', moment) s,
		jsonb_populate_record(NULL::media, s) p
	WHERE r.integration_id = integration AND r.external_id = id AND s IS NOT NULL
$$;
COMMENT ON FUNCTION resource_at(bigint, text, timestamptz) IS 'SELECT * FROM resource_at(7, ''abc'', now() - interval ''1 day''): the row as it stood then; no row: it was not there yet.';
COMMENT ON FUNCTION transaction_at(bigint, text, timestamptz) IS 'As resource_at.';
COMMENT ON FUNCTION media_at(bigint, text, timestamptz) IS 'As resource_at.';

-- ---- ids that a partner changed ----

CREATE TABLE id_links (
	integration_id  bigint NOT NULL,
	table_name      text NOT NULL CHECK (table_name IN ('resources', 'transactions', 'media')),
	old_external_id text COLLATE "C" NOT NULL,
	new_external_id text COLLATE "C" NOT NULL,
	source          text,
	run_id          bigint,
	linked_at       timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (integration_id, table_name, old_external_id, new_external_id),
	CHECK (old_external_id <> new_external_id)
);
CREATE INDEX id_links_new ON id_links (integration_id, table_name, new_external_id);
COMMENT ON TABLE id_links IS 'Ids that a partner merged (many old, one new) or split (one old, many new). The old row stays, with deleted_at and replaced_by.';
COMMENT ON COLUMN id_links.source IS 'As in resource_changes.';
