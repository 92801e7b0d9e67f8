#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/sealed.h"
#include "common/store/store.h"

#define SETTINGS_MAX_BYTES (256 * 1024)

static const char select_integrations[] =
	"SELECT i.id, i.company_id, c.name, i.partner, i.environment, i.base_url, i.status,"
	" i.status_reason, i.settings,"
	" (extract(epoch FROM i.created_at) * 1000)::int8, (extract(epoch FROM i.last_success_at)"
	" * 1000)::int8, nullif(i.overrides, '{}'), i.credential_version"
	" FROM integrations i LEFT JOIN companies c ON c.id = i.company_id";

void integration_clear(struct integration *i)
{
	free(i->company);
	free(i->partner);
	free(i->environment);
	free(i->base_url);
	free(i->status);
	free(i->status_reason);
	free(i->overrides);
	cJSON_Delete(i->settings);
	*i = (struct integration){ 0 };
}

/* The column is checked to be an object; one that passes our bounds no more reads as none. */
static cJSON *read_settings(const char *text)
{
	cJSON *tree = NULL;

	if (!text || json_parse(text, strlen(text), SETTINGS_MAX_BYTES, &tree, NULL) < 0)
		tree = cJSON_CreateObject();
	return tree;
}

static void read_integration(const PGresult *r, int row, struct integration *out)
{
	*out = (struct integration){
		.id = pg_get_int(r, row, 0),
		.company_id = pg_get_int(r, row, 1),
		.company = query_dup(r, row, 2),
		.partner = query_dup(r, row, 3),
		.environment = query_dup(r, row, 4),
		.base_url = query_dup(r, row, 5),
		.status = query_dup(r, row, 6),
		.status_reason = query_dup(r, row, 7),
		.settings = read_settings(pg_get(r, row, 8)),
		.created_ms = pg_get_int(r, row, 9),
		.last_success_ms = pg_get_int(r, row, 10),
		.overrides = query_dup(r, row, 11),
		.credential_version = pg_get_int(r, row, 12),
	};
}

int integration_get(struct pg *p, int64_t id, struct integration *out, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	struct buf sql = BUF_INIT;
	int rc;

	buf_printf(&sql, "%s WHERE i.id = $1", select_integrations);
	pg_params_init(&params);
	pg_int(&params, id);
	rc = query_some(p, sql.data, &params, &res, err);
	buf_clear(&sql);
	if (rc < 0)
		return query_no_integration(rc, id, err);
	read_integration(res, 0, out);
	PQclear(res);
	return 0;
}

int integration_each(struct pg *p, int64_t company_id, const char *partner, const char *status,
		     integration_fn fn, void *arg, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	struct buf sql = BUF_INIT;
	int rc;

	buf_printf(&sql,
		   "%s WHERE ($1::int8 IS NULL OR i.company_id = $1) AND ($2::text IS NULL OR"
		   " i.partner = $2)"
		   " AND ($3::text IS NULL OR i.status = $3) ORDER BY i.id",
		   select_integrations);
	pg_params_init(&params);
	query_id(&params, company_id);
	pg_text(&params, partner);
	pg_text(&params, status);
	rc = query(p, sql.data, &params, &res, err);
	buf_clear(&sql);
	if (rc < 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++) {
		struct integration one;

		read_integration(res, i, &one);
		fn(&one, arg);
		integration_clear(&one);
	}
	PQclear(res);
	return 0;
}

struct home {
	int64_t id;
	bool active;
};

static void see_home(const struct integration *i, void *arg)
{
	struct home *h = arg;
	bool active = strcmp(i->status, "active") == 0;

	if (i->company_id || (h->id && (h->active || !active)))
		return;
	h->id = i->id;
	h->active = active;
}

int integration_home(struct pg *p, const char *partner, int64_t *id, struct err *err)
{
	struct home h = { 0 };
	int rc = integration_each(p, 0, partner, NULL, see_home, &h, err);

	if (rc == 0)
		*id = h.id;
	return rc;
}

static int next_id(struct pg *p, int64_t *id, struct err *err)
{
	PGresult *res = NULL;
	int rc = query(p, "SELECT nextval(pg_get_serial_sequence('integrations', 'id'))", NULL,
		       &res, err);

	if (rc < 0)
		return rc;
	*id = pg_get_int(res, 0, 0);
	PQclear(res);
	return 0;
}

static void insert_params(struct pg_params *out, int64_t id, int64_t company,
			  const struct integration_new *n)
{
	struct buf settings = BUF_INIT;

	if (n->settings)
		json_print(n->settings, &settings);
	else
		buf_puts(&settings, "{}");
	pg_params_init(out);
	pg_int(out, id);
	query_id(out, company);
	pg_text(out, n->partner);
	pg_text(out, n->environment);
	pg_text(out, n->base_url);
	pg_text(out, settings.data);
	buf_clear(&settings);
}

/* The id comes first, since the credential is sealed for it; then both rows in one transaction. */
int integration_add(struct pg *p, const struct keyring *k, const struct integration_new *n,
		    int64_t *id, struct err *err)
{
	struct pg_params integration, credential;
	struct pg_statement st[2] = {
		{ "INSERT INTO integrations (id, company_id, partner, environment, base_url,"
		  " settings) OVERRIDING SYSTEM VALUE"
		  " VALUES ($1, $2, $3, coalesce($4, 'production'), $5, $6)",
		  &integration },
		{ credential_first_sql, &credential },
	};
	PGresult *results[2] = { NULL, NULL };
	struct buf sealed = BUF_INIT;
	int64_t company = 0, made = 0;
	int rc = n->company ? company_find(p, n->company, &company, err) : 0;

	if (rc == 0)
		rc = next_id(p, &made, err);
	if (rc == 0 && n->credentials)
		rc = credential_seal(k, made, n->credentials, &sealed, err);
	if (rc < 0)
		goto out;
	insert_params(&integration, made, company, n);
	credential_params(&credential, made, buf_str(&sealed));
	rc = pg_exec_all(p, st, n->credentials ? 2 : 1, results, query_deadline(), err);
	pg_params_clear(&integration);
	pg_params_clear(&credential);
	PQclear(results[0]);
	PQclear(results[1]);
	if (rc == 0)
		*id = made;
out:
	buf_clear(&sealed);
	return rc;
}

int integration_set_status(struct pg *p, int64_t id, const char *status, const char *reason,
			   struct err *err)
{
	struct pg_params params;
	int rc;

	pg_params_init(&params);
	pg_int(&params, id);
	pg_text(&params, status);
	pg_text(&params, reason);
	rc = query_some(p, INTEGRATION_STATUS("NULL", "NULL"), &params, NULL, err);
	return query_no_integration(rc, id, err);
}

int integration_change(struct pg *p, int64_t id, const struct integration_change *change,
		       struct err *err)
{
	struct buf settings = BUF_INIT;
	struct pg_params params;
	int rc;

	if (change->settings)
		json_print(change->settings, &settings);
	pg_params_init(&params);
	pg_int(&params, id);
	pg_text(&params, change->base_url);
	pg_text(&params, settings.data);
	pg_text(&params, change->overrides);
	buf_clear(&settings);
	rc = query_some(
		p,
		"UPDATE integrations SET"
		" base_url = CASE WHEN $2::text IS NULL THEN base_url ELSE nullif($2, '') END,"
		" settings = jsonb_strip_nulls(settings || coalesce($3::jsonb, '{}')),"
		" overrides = coalesce($4::jsonb, overrides) WHERE id = $1",
		&params, NULL, err);
	return query_no_integration(rc, id, err);
}

int integration_touch_success(struct pg *p, int64_t id, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, id);
	return query_some(p, "UPDATE integrations SET last_success_at = now() WHERE id = $1",
			  &params, NULL, err);
}
