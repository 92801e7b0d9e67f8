-- The rows that users query.  One row per integration and external id, for ever; written only by the guarded upsert.
--
-- Ids collate by byte: the order in which batches are sorted, and the cheapest to compare.
-- fillfactor 90 and no index on the moving times: re-reading an unchanged item is a HOT update, which touches no
-- index.  No foreign key to integrations: its check would cost a good part of the insert, and integrations are never removed.

CREATE TABLE resources (
	integration_id     bigint NOT NULL,
	external_id        text COLLATE "C" NOT NULL,
	kind               text,
	name               text,
	internal_name      text,
	description        text,
	type               text,
	status             text,
	address1           text,
	address2           text,
	city               text,
	region             text,
	postal_code        text,
	country_code       text,
	lat                double precision,
	lng                double precision,
	timezone           text,
	currency           text,
	price_minor        bigint,
	cleaning_fee_minor bigint,
	capacity           bigint,
	bedrooms           bigint,
	beds               bigint,
	bathrooms          double precision,
	min_nights         bigint,
	max_nights         bigint,
	check_in_time      text,
	check_out_time     text,
	media_hash         text,
	partner_created_at timestamptz,
	extra              jsonb,
	partner_updated_at timestamptz,
	observed_at        timestamptz NOT NULL,
	version            bigint NOT NULL DEFAULT 1,
	first_seen_at      timestamptz NOT NULL DEFAULT now(),
	changed_at         timestamptz NOT NULL DEFAULT now(),
	deleted_at         timestamptz,
	PRIMARY KEY (integration_id, external_id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05,
	autovacuum_vacuum_cost_limit = 2000);
CREATE INDEX resources_deleted ON resources (integration_id, external_id) WHERE deleted_at IS NOT NULL;
COMMENT ON TABLE resources IS 'Listings, properties, places: what a partner lists.';
COMMENT ON COLUMN resources.type IS 'apartment house condo studio villa cabin room hotel bed_and_breakfast other, or what the manifest maps to.';
COMMENT ON COLUMN resources.country_code IS 'ISO 3166-1 alpha-2.';
COMMENT ON COLUMN resources.timezone IS 'IANA name.';
COMMENT ON COLUMN resources.currency IS 'ISO 4217.';
COMMENT ON COLUMN resources.price_minor IS 'In the currency''s minor units: cents for EUR, yen for JPY, fils (1/1000) for KWD.';
COMMENT ON COLUMN resources.cleaning_fee_minor IS 'In the currency''s minor units.';
COMMENT ON COLUMN resources.check_in_time IS 'Local time of day, HH:MM.';
COMMENT ON COLUMN resources.check_out_time IS 'Local time of day, HH:MM.';
COMMENT ON COLUMN resources.media_hash IS 'Changes when the partner''s photos do; media are fetched anew only then.';

CREATE TABLE transactions (
	integration_id       bigint NOT NULL,
	external_id          text COLLATE "C" NOT NULL,
	resource_external_id text COLLATE "C",
	status               text,
	status_raw           text,
	source               text,
	code                 text,
	starts_at            timestamptz,
	ends_at              timestamptz,
	starts_on            date,
	ends_on              date,
	timezone             text,
	nights               bigint,
	guests               bigint,
	adults               bigint,
	children             bigint,
	infants              bigint,
	pets                 bigint,
	guest_name           text,
	guest_email          text,
	guest_phone          text,
	currency             text,
	total_minor          bigint,
	paid_minor           bigint,
	balance_minor        bigint,
	cancelled_at         timestamptz,
	notes                text,
	partner_created_at   timestamptz,
	extra                jsonb,
	partner_updated_at   timestamptz,
	observed_at          timestamptz NOT NULL,
	version              bigint NOT NULL DEFAULT 1,
	first_seen_at        timestamptz NOT NULL DEFAULT now(),
	changed_at           timestamptz NOT NULL DEFAULT now(),
	deleted_at           timestamptz,
	PRIMARY KEY (integration_id, external_id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05,
	autovacuum_vacuum_cost_limit = 2000);
CREATE INDEX transactions_resource ON transactions (integration_id, resource_external_id);
CREATE INDEX transactions_deleted ON transactions (integration_id, external_id) WHERE deleted_at IS NOT NULL;
COMMENT ON TABLE transactions IS 'Reservations, bookings, orders.';
COMMENT ON COLUMN transactions.resource_external_id IS 'resources.external_id of the same integration; that row may come later.';
COMMENT ON COLUMN transactions.status IS 'inquiry pending confirmed cancelled checked_in checked_out no_show other.';
COMMENT ON COLUMN transactions.status_raw IS 'The partner''s own word.';
COMMENT ON COLUMN transactions.starts_at IS 'An instant, where the partner gives one; a date without a zone stays a date, in starts_on.';
COMMENT ON COLUMN transactions.ends_at IS 'An instant, where the partner gives one; a date without a zone stays a date, in ends_on.';
COMMENT ON COLUMN transactions.starts_on IS 'The local day, as the partner names it; its zone is in timezone.';
COMMENT ON COLUMN transactions.ends_on IS 'The local day, as the partner names it; its zone is in timezone.';
COMMENT ON COLUMN transactions.timezone IS 'IANA name of the zone that starts_on and ends_on are in, if known.';
COMMENT ON COLUMN transactions.total_minor IS 'In the currency''s minor units: cents for EUR, yen for JPY, fils (1/1000) for KWD.';
COMMENT ON COLUMN transactions.paid_minor IS 'In the currency''s minor units.';
COMMENT ON COLUMN transactions.balance_minor IS 'In the currency''s minor units.';

CREATE TABLE media (
	integration_id       bigint NOT NULL,
	external_id          text COLLATE "C" NOT NULL,
	resource_external_id text COLLATE "C",
	kind                 text,
	url                  text,
	position             bigint,
	caption              text,
	content_hash         text,
	expires_at           timestamptz,
	extra                jsonb,
	partner_updated_at   timestamptz,
	observed_at          timestamptz NOT NULL,
	version              bigint NOT NULL DEFAULT 1,
	first_seen_at        timestamptz NOT NULL DEFAULT now(),
	changed_at           timestamptz NOT NULL DEFAULT now(),
	deleted_at           timestamptz,
	PRIMARY KEY (integration_id, external_id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05,
	autovacuum_vacuum_cost_limit = 2000);
CREATE INDEX media_resource ON media (integration_id, resource_external_id);
CREATE INDEX media_deleted ON media (integration_id, external_id) WHERE deleted_at IS NOT NULL;
COMMENT ON TABLE media IS 'Photos and other media of resources: where they are, not their bytes.';
COMMENT ON COLUMN media.resource_external_id IS 'resources.external_id of the same integration; that row may come later.';
COMMENT ON COLUMN media.position IS 'Order among the media of a resource; 0 is the first.';
COMMENT ON COLUMN media.expires_at IS 'When the link stops working, where the partner''s links do.';

DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['resources', 'transactions', 'media'] LOOP
		EXECUTE format('COMMENT ON COLUMN %I.integration_id IS %L', t, 'integrations.id');
		EXECUTE format('COMMENT ON COLUMN %I.external_id IS %L', t, 'The partner''s id, always text; with integration_id the row''s only identity.');
		EXECUTE format('COMMENT ON COLUMN %I.extra IS %L', t, 'What has no column of its own, as the partner sent it.');
		EXECUTE format('COMMENT ON COLUMN %I.partner_updated_at IS %L', t, 'The partner''s own updated_at; decides which of two writes is newer.');
		EXECUTE format('COMMENT ON COLUMN %I.observed_at IS %L', t, 'When the request that read this was sent; decides where partner_updated_at is equal or missing.');
		EXECUTE format('COMMENT ON COLUMN %I.version IS %L', t, 'Grows by one at each change of content.');
		EXECUTE format('COMMENT ON COLUMN %I.first_seen_at IS %L', t, 'When this row was first written.');
		EXECUTE format('COMMENT ON COLUMN %I.changed_at IS %L', t, 'When its content last changed.');
		EXECUTE format('COMMENT ON COLUMN %I.deleted_at IS %L', t, 'Set when a complete scan no longer saw it; the row itself is kept.');
	END LOOP;
END $$;
