/* Statements of the version before this one, word for word: they must run on this version's schema (P8), since workers of both
 * run side by side while a new version is rolled out.  Whoever changes a statement that a migration could break moves its old
 * text here, and drops what is older than one release. */
#ifndef TESTS_UNIT_SQL_BEFORE_H
#define TESTS_UNIT_SQL_BEFORE_H

#include <stdint.h>

/* The newest migration that version had. */
#define SCHEMA_BEFORE 12

/* The upsert of `name` and `capacity`; answers integration_id, external_id, outcome (1 added 2 updated 3 unchanged 5
 * undeleted), without stale rows. */
static const char upsert_before[] =
	"INSERT INTO resources AS r (integration_id, external_id, partner_updated_at, observed_at, name, capacity)"
	" SELECT f.integration_id, f.external_id, f.partner_updated_at, f.observed_at, f.name, f.capacity FROM"
	" (SELECT unnest($1::int8[]) AS integration_id, unnest($2::text[]) AS external_id,"
	" unnest($3::timestamptz[]) AS partner_updated_at, unnest($4::timestamptz[]) AS observed_at,"
	" unnest($5::text[]) AS name, unnest($6::int8[]) AS capacity) AS f"
	" ON CONFLICT (integration_id, external_id) DO UPDATE SET"
	" partner_updated_at = excluded.partner_updated_at, observed_at = excluded.observed_at, deleted_at = NULL,"
	" name = excluded.name, capacity = excluded.capacity,"
	" version = CASE WHEN (r.deleted_at IS NOT NULL OR r.name IS DISTINCT FROM excluded.name"
	" OR r.capacity IS DISTINCT FROM excluded.capacity) THEN r.version + 1 ELSE r.version END,"
	" changed_at = CASE WHEN (r.deleted_at IS NOT NULL OR r.name IS DISTINCT FROM excluded.name"
	" OR r.capacity IS DISTINCT FROM excluded.capacity) THEN now() ELSE r.changed_at END"
	" WHERE CASE WHEN r.deleted_at IS NULL AND excluded.partner_updated_at <> r.partner_updated_at"
	" THEN excluded.partner_updated_at > r.partner_updated_at ELSE excluded.observed_at > r.observed_at END"
	" RETURNING r.integration_id, r.external_id, CASE WHEN r.xmax = 0 THEN 1 WHEN r.changed_at <> now() THEN 3"
	" WHEN (SELECT true FROM resources o WHERE o.integration_id = r.integration_id"
	" AND o.external_id = r.external_id AND o.deleted_at IS NOT NULL) THEN 5 ELSE 2 END";

/* The look at a parent's row. */
static const char look_before[] =
	"SELECT to_jsonb(r) - 'extra' FROM resources r WHERE integration_id = $1 AND external_id = $2 AND deleted_at IS NULL";

#endif
