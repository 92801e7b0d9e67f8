#include "common/store/schedule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"

#define SETTINGS_MAX_BYTES (256 * 1024)
#define MS(column) "(extract(epoch FROM " column ") * 1000)::int8"
#define COLUMNS                                                                                   \
	"s.integration_id, i.company_id, s.version, " MS("s.next_at") ", " MS(                    \
		"s.full_slot") ", " MS("i.last_success_at") ", i.partner,"                        \
							    " i.environment, i.base_url, s.plan," \
							    " i.settings, i.status = 'active',"   \
							    " EXISTS (SELECT FROM"                \
							    " webhook_registrations w WHERE"      \
							    " w.integration_id = i.id AND"        \
							    " w.state = 'registered')"

void schedules_clear(struct schedules *s)
{
	for (int i = 0; i < s->n; i++) {
		free(s->v[i].partner);
		free(s->v[i].environment);
		free(s->v[i].base_url);
		free(s->v[i].plan);
		cJSON_Delete(s->v[i].settings);
	}
	free(s->v);
	*s = (struct schedules){ 0 };
}

static void read_one(const PGresult *r, int row, struct schedule *out)
{
	const char *settings = pg_get(r, row, 10);

	*out = (struct schedule){ .integration = pg_get_int(r, row, 0),
				  .company = pg_get_int(r, row, 1),
				  .version = pg_get_int(r, row, 2),
				  .next_ms = pg_get_int(r, row, 3),
				  .full_ms = pg_get_int(r, row, 4),
				  .last_success_ms = pg_get_int(r, row, 5),
				  .partner = query_dup(r, row, 6),
				  .environment = query_dup(r, row, 7),
				  .base_url = query_dup(r, row, 8),
				  .plan = query_dup(r, row, 9),
				  .active = query_bool(r, row, 11),
				  .registered = query_bool(r, row, 12) };
	if (!settings ||
	    json_parse(settings, strlen(settings), SETTINGS_MAX_BYTES, &out->settings, NULL) < 0)
		out->settings = cJSON_CreateObject();
}

static int read_all(struct pg *p, const char *sql, struct pg_params *params, struct schedules *out,
		    struct err *err)
{
	PGresult *res = NULL;
	int rc = query(p, sql, params, &res, err);

	if (rc < 0)
		return rc;
	out->n = PQntuples(res);
	out->v = mem_alloc(sizeof(*out->v) * (size_t)(out->n + 1));
	for (int i = 0; i < out->n; i++)
		read_one(res, i, &out->v[i]);
	PQclear(res);
	return 0;
}

/* ---- planning ---- */

int schedules_to_plan(struct pg *p, bool all, int64_t after, int limit, struct schedules *out,
		      struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, after);
	pg_int(&params, limit);
	return read_all(p,
			all ? "SELECT " COLUMNS " FROM import_schedules s JOIN integrations i ON"
			      " i.id = s.integration_id WHERE s.integration_id > $1 ORDER BY 1"
			      " LIMIT $2"
			    : "SELECT " COLUMNS " FROM import_schedules s JOIN integrations i ON"
			      " i.id = s.integration_id WHERE s.integration_id > $1 AND s.plan IS"
			      " NULL ORDER BY 1 LIMIT $2",
			&params, out, err);
}

static void add_text(struct pg_array *a, const char *s)
{
	if (s)
		pg_array_text(a, s, strlen(s));
	else
		pg_array_null(a);
}

static void add_time(struct pg_array *a, int64_t ms)
{
	if (ms)
		pg_array_time_us(a, ms * 1000);
	else
		pg_array_null(a);
}

static void add_mode(struct pg_array *a, bool there, bool full)
{
	add_text(a, !there ? NULL : full ? "full" : "incremental");
}

static void params_of(struct pg_params *params, struct pg_array *a, int n)
{
	pg_params_init(params);
	for (int i = 0; i < n; i++)
		pg_array_param(params, &a[i]);
}

int schedules_plan(struct pg *p, const struct schedule_plan *v, int n, struct err *err)
{
	enum { ID, VERSION, PLAN, STRATEGY, EVERY, REASON, FULL, NEXT, MODE, N };
	static const Oid types[N] = { PG_INT8, PG_INT8, PG_TEXT,        PG_TEXT, PG_TEXT,
				      PG_TEXT, PG_INT8, PG_TIMESTAMPTZ, PG_TEXT };
	struct pg_array a[N];
	struct pg_params params;

	if (n == 0)
		return 0;
	for (int k = 0; k < N; k++)
		pg_array_init(&a[k], types[k]);
	for (int i = 0; i < n; i++) {
		pg_array_int8(&a[ID], v[i].of->integration);
		pg_array_int8(&a[VERSION], v[i].of->version);
		add_text(&a[PLAN], v[i].plan);
		add_text(&a[STRATEGY], v[i].strategy);
		add_text(&a[EVERY], v[i].every);
		add_text(&a[REASON], v[i].reason);
		pg_array_int8(&a[FULL], v[i].full_every_ms);
		add_time(&a[NEXT], v[i].next_ms);
		add_mode(&a[MODE], v[i].next_ms != 0, v[i].next_full);
	}
	params_of(&params, a, N);
	return query(
		p,
		"UPDATE import_schedules s SET plan = v.plan, strategy = v.strategy, every ="
		" v.every, reason = v.reason, full_every = justify_hours(nullif(v.full_ms, 0) *"
		" interval '1 ms'), next_at = v.next_at, next_mode = v.next_mode FROM unnest($1::int8[],"
		" $2::int8[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int8[],"
		" $8::timestamptz[], $9::text[]) v (id, version, plan, strategy, every, reason,"
		" full_ms, next_at, next_mode)"
		" WHERE s.integration_id = v.id AND s.version = v.version",
		&params, NULL, err);
}

/* ---- starting ---- */

int schedules_due(struct pg *p, int64_t now_ms, int64_t after_ms, int64_t after, int64_t told_ms,
		  struct pg_array *but, int limit, struct schedules *out, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, now_ms);
	pg_int(&params, after_ms);
	pg_int(&params, after);
	pg_int(&params, told_ms);
	pg_int(&params, limit);
	pg_array_param(&params, but);
	return read_all(
		p,
		"SELECT " COLUMNS " FROM import_schedules s JOIN integrations i ON i.id ="
		" s.integration_id LEFT JOIN partner_states p ON p.partner = i.partner"
		" WHERE s.next_at <= to_timestamp($1 / 1000.0) AND (s.next_at, s.integration_id) >"
		" (to_timestamp($2 / 1000.0), $3) AND s.plan IS NOT NULL"
		" AND (i.status = 'active' OR i.status = 'auth_broken' AND s.next_at >"
		" to_timestamp($4 / 1000.0)) AND p.paused IS NOT TRUE AND i.partner <> ALL($6)"
		" AND NOT EXISTS (SELECT FROM scheduling WHERE paused)"
		" ORDER BY s.next_at, s.integration_id LIMIT $5",
		&params, out, err);
}

int schedules_step(struct pg *p, const struct schedule_step *v, int n, struct err *err)
{
	enum { ID, WAS, SLOT, MODE, FULL, MISSED, NEXT, NEXT_MODE, N };
	static const Oid types[N] = { PG_INT8,        PG_TIMESTAMPTZ, PG_TIMESTAMPTZ, PG_TEXT,
				      PG_TIMESTAMPTZ, PG_INT8,        PG_TIMESTAMPTZ, PG_TEXT };
	struct pg_array a[N];
	struct pg_params params;

	if (n == 0)
		return 0;
	for (int k = 0; k < N; k++)
		pg_array_init(&a[k], types[k]);
	for (int i = 0; i < n; i++) {
		pg_array_int8(&a[ID], v[i].integration);
		add_time(&a[WAS], v[i].was_ms);
		add_time(&a[SLOT], v[i].slot_ms);
		add_mode(&a[MODE], v[i].slot_ms != 0, v[i].full);
		add_time(&a[FULL], v[i].full_ms);
		pg_array_int8(&a[MISSED], v[i].missed);
		add_time(&a[NEXT], v[i].next_ms);
		add_mode(&a[NEXT_MODE], v[i].next_ms != 0, v[i].next_full);
	}
	params_of(&params, a, N);
	return query(p,
		     "UPDATE import_schedules s SET last_slot = coalesce(v.slot, s.last_slot),"
		     " last_mode = coalesce(v.mode, s.last_mode), started_at = CASE WHEN v.slot IS"
		     " NULL THEN s.started_at ELSE now() END, full_slot = v.full_slot, missed ="
		     " s.missed + v.missed, next_at = v.next_at, next_mode = v.next_mode"
		     " FROM unnest($1::int8[], $2::timestamptz[], $3::timestamptz[], $4::text[],"
		     " $5::timestamptz[], $6::int8[], $7::timestamptz[], $8::text[]) v (id, was,"
		     " slot, mode, full_slot, missed, next_at, next_mode)"
		     " WHERE s.integration_id = v.id AND s.next_at = v.was",
		     &params, NULL, err);
}

int schedules_restore(struct pg *p, const char *partner, int64_t *n, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_text(&params, partner);
	rc = query(p,
		   "UPDATE import_schedules s SET next_at = s.last_slot, next_mode = s.last_mode,"
		   " full_slot = CASE WHEN s.last_mode = 'incremental' THEN s.full_slot END"
		   " FROM integrations i WHERE i.id = s.integration_id AND i.partner = $1 AND"
		   " s.next_at > s.last_slot AND s.started_at > now() - interval '24 hours' AND"
		   " (i.last_success_at IS NULL OR i.last_success_at < s.started_at)",
		   &params, &res, err);
	if (rc < 0)
		return rc;
	*n = strtoll(PQcmdTuples(res), NULL, 10);
	PQclear(res);
	return 0;
}

/* ---- looking ---- */

static int one_json(struct pg *p, const char *sql, struct pg_params *params, cJSON **out,
		    struct err *err)
{
	PGresult *res = NULL;
	int rc = query_some(p, sql, params, &res, err);
	const char *text;

	if (rc < 0)
		return rc;
	text = pg_get(res, 0, 0);
	if (!text || json_parse(text, strlen(text), SETTINGS_MAX_BYTES, out, NULL) < 0)
		*out = cJSON_CreateNull();
	PQclear(res);
	return 0;
}

int schedule_row(struct pg *p, int64_t integration, cJSON **out, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, integration);
	return one_json(p, "SELECT to_json(s) FROM schedules s WHERE integration_id = $1", &params,
			out, err);
}

int schedules_summary(struct pg *p, cJSON **out, struct err *err)
{
	return one_json(
		p,
		"SELECT json_build_object('due', (SELECT count(*) FROM schedules WHERE next_at <="
		" now() AND held_by IS NULL), 'next', (SELECT json_build_object('integration_id',"
		" integration_id, 'partner', partner, 'at', next_at, 'mode', next_mode) FROM"
		" schedules WHERE held_by IS NULL AND next_at IS NOT NULL ORDER BY next_at LIMIT 1))",
		NULL, out, err);
}
