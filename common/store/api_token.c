#include "common/store/api_token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/store/query.h"

#define RANDOM_LETTERS 52 /* of 32: 260 bits */
#define ROW_MAX_BYTES 65536

static const struct {
	const char *name;
	unsigned bit;
} scopes_known[] = { { "push", API_PUSH }, { "read", API_READ }, { "operate", API_OPERATE } };

int api_scopes_parse(const char *words, unsigned *out)
{
	*out = 0;
	while (*words) {
		size_t n = strcspn(words, ", "), i = 0;

		while (i < ARRAY_LEN(scopes_known) &&
		       !(strlen(scopes_known[i].name) == n &&
			 strncmp(words, scopes_known[i].name, n) == 0))
			i++;
		if (i == ARRAY_LEN(scopes_known))
			return -EINVAL;
		*out |= scopes_known[i].bit;
		words += n;
		words += strspn(words, ", ");
	}
	return *out ? 0 : -EINVAL;
}

static void scopes_print(unsigned bits, struct buf *out)
{
	buf_putc(out, '{');
	for (size_t i = 0; i < ARRAY_LEN(scopes_known); i++)
		if (bits & scopes_known[i].bit)
			buf_printf(out, "%s%s", out->len > 1 ? "," : "", scopes_known[i].name);
	buf_putc(out, '}');
}

/* It has more than enough chance in it for a plain hash. */
static void hash_of(const char *text, char hex[2 * SHA256_BYTES + 1])
{
	uint8_t digest[SHA256_BYTES];

	crypto_sha256(text, strlen(text), digest);
	crypto_hex(digest, sizeof(digest), hex);
}

static void make(char text[API_TOKEN_BYTES])
{
	static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
	uint8_t random[RANDOM_LETTERS];

	random_bytes(random, sizeof(random));
	snprintf(text, API_TOKEN_BYTES, "ls_");
	for (int i = 0; i < RANDOM_LETTERS; i++)
		text[3 + i] = letters[random[i] % 32];
	text[3 + RANDOM_LETTERS] = '\0';
}

int api_token_add(struct pg *p, const char *name, unsigned scopes, int64_t per_minute,
		  int64_t expires_in_ms, char text[API_TOKEN_BYTES], int64_t *id, struct err *err)
{
	char hash[2 * SHA256_BYTES + 1];
	struct buf list = BUF_INIT;
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	make(text);
	hash_of(text, hash);
	scopes_print(scopes, &list);
	pg_params_init(&params);
	pg_text(&params, name);
	pg_text(&params, hash);
	pg_text(&params, buf_str(&list));
	pg_int(&params, per_minute);
	query_id(&params, expires_in_ms);
	buf_clear(&list);
	rc = query_some(p,
			"INSERT INTO api_tokens (name, hash, scopes, per_minute, expires_at) VALUES"
			" ($1, $2, $3::text[], $4, now() + $5 * interval '1 ms')"
			" ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING RETURNING id",
			&params, &res, err);
	if (rc == 0)
		*id = pg_get_int(res, 0, 0);
	PQclear(res);
	return rc == -ENOENT ? err_set(err, -EEXIST, ERR_CLIENT, "name",
				       "there is a token \"%.60s\"; revoke it first", name)
			     : rc;
}

int api_token_find(struct pg *p, const char *text, struct api_token *out, struct err *err)
{
	char hash[2 * SHA256_BYTES + 1];
	struct pg_params params;
	PGresult *res = NULL;
	const char *words;
	int rc;

	hash_of(text, hash);
	pg_params_init(&params);
	pg_text(&params, hash);
	rc = query_some(p,
			"SELECT id, per_minute, (extract(epoch FROM expires_at) * 1000)::int8,"
			" array_to_string(scopes, ','), name FROM api_tokens WHERE hash = $1 AND"
			" revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())",
			&params, &res, err);
	if (rc == 0) {
		*out = (struct api_token){ .id = pg_get_int(res, 0, 0),
					   .per_minute = pg_get_int(res, 0, 1),
					   .expires_ms = pg_get_int(res, 0, 2) };
		words = pg_get(res, 0, 3);
		if (api_scopes_parse(words ? words : "", &out->scopes) < 0)
			out->scopes = 0;
		snprintf(out->name, sizeof(out->name), "%s", pg_get(res, 0, 4));
	}
	PQclear(res);
	return rc;
}

int api_token_revoke(struct pg *p, const char *name_or_id, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_text(&params, name_or_id);
	return query_some(
		p,
		"UPDATE api_tokens SET revoked_at = now() WHERE (name = $1 OR id::text = $1)"
		" AND revoked_at IS NULL",
		&params, NULL, err);
}

int api_token_each(struct pg *p, api_token_fn fn, void *arg, struct err *err)
{
	PGresult *res = NULL;
	int rc =
		query(p,
		      "SELECT row_to_json(x) FROM (SELECT id, name, scopes, per_minute, created_at,"
		      " expires_at, revoked_at FROM api_tokens ORDER BY id) x",
		      NULL, &res, err);

	for (int i = 0; rc == 0 && i < PQntuples(res); i++) {
		const char *text = pg_get(res, i, 0);
		cJSON *row = NULL;

		if (json_parse(text, strlen(text), ROW_MAX_BYTES, &row, NULL) == 0)
			fn(row, arg);
		cJSON_Delete(row);
	}
	PQclear(res);
	return rc;
}
