/* What a token endpoint answers: JSON, times and lives of all kinds, JWTs; read, kept and read again. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/auth_grant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_MS INT64_C(1700000000000)
#define LIFE_MAX_MS (10 * 366 * 86400000LL)

static void need(bool holds)
{
	if (!holds)
		abort();
}

/* What was kept reads as it was. */
static void check_kept(const struct token *t, const char *refresh)
{
	struct secret pair = SECRET_INIT;
	struct token again = { 0 };
	cJSON *tree = NULL;
	const char *r;

	grant_print(refresh, t, "", &pair);
	need(json_parse(secret_reveal(&pair), pair.len, 1 << 22, &tree, NULL) == 0);
	r = json_str(tree, "refresh_token");
	need(refresh ? r && strcmp(r, refresh) == 0 : !r);
	need(token_from(tree, &again) == 0);
	need(again.expires_ms == t->expires_ms && again.minted_ms == t->minted_ms);
	need(secret_equal(secret_reveal(&again.access), again.access.len, secret_reveal(&t->access),
			  t->access.len));
	token_clear(&again);
	cJSON_Delete(tree);
	secret_clear(&pair);
}

static void try_answer(const cJSON *json, enum expires_kind how, const char *path)
{
	struct manifest m = { .partner = "p",
			      .auth = { .expires = how,
					.expires_path = path,
					.expires_fixed_ms = 1000,
					.refresh = { .token = "refresh_token|r" } } };
	struct http_response h = { .status = 200 };
	struct token t = { 0 };
	struct err err = { 0 };
	int64_t lapses_ms = token_answer_lapses_ms(json);

	need(lapses_ms >= 0 && lapses_ms <= LIFE_MAX_MS);
	if (token_answer_read(&m, &h, json, NOW_MS, &t, &err) == 0) {
		need(t.access.len > 0);
		need(t.expires_ms > NOW_MS && t.expires_ms <= NOW_MS + LIFE_MAX_MS);
		check_kept(&t, token_answer_refresh(&m, json));
	}
	token_clear(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_alloc(size + 1);
	cJSON *json = NULL;

	memcpy(text, data, size);
	text[size] = '\0';
	need(jwt_left_ms(text, NOW_MS) >= 0);
	if (json_parse(text, size, 1 << 20, &json, NULL) == 0) {
		try_answer(json, EXPIRES_SECONDS, "expires_in|e");
		try_answer(json, EXPIRES_AT, "expires_at|e");
		try_answer(json, EXPIRES_JWT, NULL);
		try_answer(json, EXPIRES_FIXED, NULL);
	}
	cJSON_Delete(json);
	free(text);
	return 0;
}
