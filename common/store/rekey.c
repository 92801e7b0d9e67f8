/* A new key: what is sealed is read in slices by id, opened, sealed under the first key and put in the place of exactly
 * the text that was read.  Nothing is remembered but what is left, which the texts say themselves: each begins with the id
 * of its key. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/store.h"

#define SLICE 200
#define CONTEXT_MAX 48

/* Every column that holds sealed texts, of tables whose key is integration_id; one that is new is added here. */
static const struct {
	const char *table, *column;
	const char *context; /* bound in, with the id behind it */
} places[] = {
	{ "credentials", "sealed", "credential" },
	{ "credentials", "previous_sealed", "credential" },
	{ "grants", "sealed", "grant" },
};

static char *count_sql(int place)
{
	const char *c = places[place].column;

	return mem_printf(
		"SELECT CASE WHEN %s ~ '^v1[.][^.]+[.]' THEN split_part(%s, '.', 2) ELSE ''"
		" END, count(*) FROM %s WHERE %s IS NOT NULL GROUP BY 1 ORDER BY 1",
		c, c, places[place].table, c);
}

static char *read_sql(int place)
{
	const char *c = places[place].column;

	return mem_printf("SELECT integration_id, %s FROM %s WHERE integration_id > $1 AND"
			  " NOT starts_with(%s, $2) ORDER BY integration_id LIMIT $3",
			  c, places[place].table, c);
}

/* Locked in the order of ids: two that go at once wait for each other, in no circle. */
static char *write_sql(int place)
{
	const char *t = places[place].table, *c = places[place].column;

	return mem_printf(
		"WITH f AS (SELECT * FROM unnest($1::int8[], $2::text[], $3::text[]) AS f (id, was, now)),"
		" l AS MATERIALIZED (SELECT t.integration_id AS id FROM %s t JOIN f ON f.id = t.integration_id"
		" AND f.was = t.%s ORDER BY 1 FOR UPDATE OF t)"
		" UPDATE %s t SET %s = f.now FROM f, l"
		" WHERE l.id = t.integration_id AND f.id = t.integration_id AND f.was = t.%s",
		t, c, t, c, c);
}

static int ask(struct pg *p, char *sql, struct pg_params *params, PGresult **res, struct err *err)
{
	int rc = query(p, sql, params, res, err);

	free(sql);
	return rc;
}

int sealed_count(struct pg *p, sealed_fn fn, void *arg, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		PGresult *res = NULL;
		int rc = ask(p, count_sql((int)i), NULL, &res, err);
		char name[64];

		if (rc < 0)
			return rc;
		snprintf(name, sizeof(name), "%s.%s", places[i].table, places[i].column);
		for (int r = 0; r < PQntuples(res); r++)
			fn(name, pg_get(res, r, 0), pg_get_int(res, r, 1), arg);
		PQclear(res);
	}
	return 0;
}

static void note_closed(struct rekey *at, int64_t id, int rc)
{
	if (at->closed++ == 0) {
		at->closed_first = id;
		at->closed_rc = rc;
	}
}

/* Three columns: id, as it was read, under the new key. */
static int64_t seal_anew(const PGresult *res, const struct keyring *k, struct rekey *at,
			 struct pg_array out[3])
{
	int64_t n = 0;

	for (int r = 0; r < PQntuples(res); r++) {
		const char *sealed = pg_get(res, r, 1);
		char context[CONTEXT_MAX];
		struct buf anew = BUF_INIT;
		int rc;

		at->after = pg_get_int(res, r, 0);
		snprintf(context, sizeof(context), "%s:%lld", places[at->place].context,
			 (long long)at->after);
		rc = crypto_reseal(k, context, sealed, &anew);
		if (rc < 0) {
			note_closed(at, at->after, rc);
		} else {
			pg_array_int8(&out[0], at->after);
			pg_array_text(&out[1], sealed, strlen(sealed));
			pg_array_text(&out[2], anew.data, anew.len);
			n++;
		}
		buf_clear(&anew);
	}
	return n;
}

static int put_anew(struct pg *p, const PGresult *res, const struct keyring *k, struct rekey *at,
		    struct err *err)
{
	struct rekey next = *at;
	struct pg_array columns[3];
	struct pg_params params;
	PGresult *put = NULL;
	int64_t n;
	int rc = 0;

	pg_array_init(&columns[0], PG_INT8);
	pg_array_init(&columns[1], PG_TEXT);
	pg_array_init(&columns[2], PG_TEXT);
	n = seal_anew(res, k, &next, columns);
	pg_params_init(&params);
	for (int i = 0; i < 3; i++)
		pg_array_param(&params, &columns[i]);
	if (n > 0) {
		rc = ask(p, write_sql(at->place), &params, &put, err);
	} else {
		pg_params_clear(&params);
	}
	if (rc == 0) {
		int64_t put_n = put ? strtoll(PQcmdTuples(put), NULL, 10) : 0;

		next.done += put_n;
		next.changed += n - put_n;
		*at = next;
	}
	PQclear(put);
	return rc;
}

int rekey_slice(struct pg *p, const struct keyring *k, struct rekey *at, struct err *err)
{
	char prefix[CRYPTO_KEY_ID_BYTES + 8];
	struct pg_params params;
	PGresult *res = NULL;
	int rc, rows;

	if (at->place >= (int)ARRAY_LEN(places))
		return 0;
	snprintf(prefix, sizeof(prefix), "v1.%s.", keyring_id(k, 0));
	pg_params_init(&params);
	pg_int(&params, at->after);
	pg_text(&params, prefix);
	pg_int(&params, SLICE);
	rc = ask(p, read_sql(at->place), &params, &res, err);
	if (rc < 0)
		return rc;
	rows = PQntuples(res);
	rc = put_anew(p, res, k, at, err);
	PQclear(res);
	if (rc < 0)
		return rc;
	if (rows < SLICE) {
		at->place++;
		at->after = 0;
	}
	return at->place < (int)ARRAY_LEN(places);
}
