/* `auth` as tables, with the checks that take two of its keys. */
#include <stddef.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"
#include "drivers/kit/subst.h"

#define SECOND_MS INT64_C(1000)
#define DAY_MS INT64_C(86400000)
#define YEAR_MS (366 * DAY_MS)
#define NEEDS_MAX 16
#define TOKEN_HEADERS_MAX 8

#define AT(member) .at = offsetof(struct manifest_auth, member)
#define COUNT(member) .n_at = offsetof(struct manifest_auth, member)

static const struct key_word auth_kind_words[] = {
	{ "none", AUTH_NONE },
	{ "api_key", AUTH_API_KEY },
	{ "basic", AUTH_BASIC },
	{ "bearer", AUTH_BEARER },
	{ "oauth2_client_credentials", AUTH_OAUTH2_CLIENT },
	{ "two_step", AUTH_TWO_STEP },
	{ "oauth2_code", AUTH_OAUTH2_CODE },
	{ "oauth2_device", AUTH_OAUTH2_DEVICE },
	{ "signed", AUTH_SIGNED },
	{ "hook", AUTH_HOOK },
	{ "oauth2_jwt", AUTH_OAUTH2_JWT },
	{ NULL, 0 },
};
static const struct key_word auth_place_words[] = { { "header", AUTH_IN_HEADER },
						    { "query", AUTH_IN_QUERY },
						    { "cookie", AUTH_IN_COOKIE },
						    { "path", AUTH_IN_PATH },
						    { NULL, 0 } };
static const struct key_word method_words[] = { { "POST", false }, { "GET", true }, { NULL, 0 } };
static const struct key_word send_words[] = { { "form", false }, { "json", true }, { NULL, 0 } };
static const struct key_word client_auth_words[] = { { "body", false },
						     { "basic", true },
						     { NULL, 0 } };

static const struct manifest_key mint_keys[] = {
	{ "count", KEY_INT, AT(mint_count), .flags = KEY_REQUIRED, .min = 1, .max = 1000000 },
	{ "window", KEY_DURATION, AT(mint_window_ms), .flags = KEY_REQUIRED, .min = SECOND_MS,
	  .max = YEAR_MS },
	{ "share", KEY_SHARE, AT(mint_share), .fallback = "0.8" },
};
static bool mint_present(const void *base)
{
	return ((const struct manifest_auth *)base)->mint_count > 0;
}
static const struct key_table mint_table = { TABLE(mint_keys), .present = mint_present };

static const struct manifest_key refresh_keys[] = {
	{ "single_use", KEY_BOOL, AT(refresh.single_use), .fallback = "true" },
	{ "keep_if_absent", KEY_BOOL, AT(refresh.keep_if_absent), .fallback = "true" },
	{ "token", KEY_PATH, AT(refresh.token), .fallback = "\"refresh_token\"" },
	{ "dies_unused_after", KEY_DURATION, AT(refresh.dies_unused_ms), .max = 10 * YEAR_MS },
	{ "lapses_after", KEY_DURATION, AT(refresh.lapses_ms), .max = 10 * YEAR_MS },
};
static const struct key_table refresh_table = { TABLE(refresh_keys) };

static const struct key_word sign_alg_words[] = {
	{ "sha256", HMAC_SHA256 }, { "sha1", HMAC_SHA1 }, { "sha512", HMAC_SHA512 }, { NULL, 0 }
};
static const struct key_word sign_encoding_words[] = { { "hex", false },
						       { "base64", true },
						       { NULL, 0 } };
static const struct key_word sign_ts_words[] = { { "epoch", SIGN_TS_EPOCH },
						 { "epoch_ms", SIGN_TS_EPOCH_MS },
						 { "iso8601", SIGN_TS_ISO },
						 { NULL, 0 } };
static const struct manifest_key sign_keys[] = {
	{ "signed", KEY_TEXT, AT(sign.template), .flags = KEY_REQUIRED },
	{ "alg", KEY_WORD, AT(sign.alg), .fallback = "\"sha256\"", .words = sign_alg_words },
	{ "key", KEY_TEXT, AT(sign.key), .fallback = "\"api_secret\"" },
	{ "encoding", KEY_WORD_BOOL, AT(sign.base64), .fallback = "\"hex\"",
	  .words = sign_encoding_words },
	{ "ts", KEY_WORD, AT(sign.ts), .fallback = "\"epoch\"", .words = sign_ts_words },
	{ "headers", KEY_PAIRS, AT(sign.headers), .flags = KEY_REQUIRED, .max = AUTH_HEADERS_MAX },
};
static bool sign_present(const void *base)
{
	return ((const struct manifest_auth *)base)->sign.template != NULL;
}
static const struct key_table sign_table = { TABLE(sign_keys), .present = sign_present };

static const struct manifest_key auth_keys[] = {
	{ "kind", KEY_WORD, AT(kind), .fallback = "\"none\"", .words = auth_kind_words },
	{ "in", KEY_WORD, AT(place), .fallback = "\"header\"", .words = auth_place_words },
	{ "name", KEY_TEXT, AT(name) },
	{ "prefix", KEY_TEXT, AT(prefix), .flags = KEY_EMPTY },
	{ "token_url", KEY_TEXT, AT(token_url) },
	{ "method", KEY_WORD_BOOL, AT(get), .fallback = "\"POST\"", .words = method_words },
	{ "send", KEY_WORD_BOOL, AT(send_json), .fallback = "\"form\"", .words = send_words },
	{ "client_auth", KEY_WORD_BOOL, AT(secret_in_basic), .fallback = "\"body\"",
	  .words = client_auth_words },
	{ "params", KEY_PAIRS, AT(params) },
	{ "headers", KEY_PAIRS, AT(headers), .max = AUTH_HEADERS_MAX },
	{ "token", KEY_PATH, AT(token_path), .flags = KEY_ANSWER, .fallback = "\"access_token\"" },
	{ "expires", KEY_OWN, .fallback = "\"seconds:expires_in\"",
	  .schema = "{\"type\":\"string\",\"minLength\":1}", .read = read_expires,
	  .print = print_expires },
	{ "early", KEY_DURATION, AT(early_ms), .fallback = "\"5m\"", .max = DAY_MS },
	{ "usable_after", KEY_DURATION, AT(usable_after_ms), .max = DAY_MS },
	{ "mint_limit", KEY_OBJECT, .of = &mint_table },
	{ "authorize_url", KEY_TEXT, AT(authorize_url) },
	{ "device_url", KEY_TEXT, AT(device_url) },
	{ "authorize_params", KEY_PAIRS, AT(authorize_params) },
	{ "refresh", KEY_OBJECT, .of = &refresh_table },
	{ "sign", KEY_OBJECT, .of = &sign_table },
	{ "needs", KEY_TEXTS, AT(needs), COUNT(n_needs) },
	{ "broken_on", KEY_LIST, AT(broken_on), COUNT(n_broken_on), .of = &manifest_broken_on,
	  .fallback =
		  "[{\"json\": \"error\", \"in\": [\"invalid_grant\", \"invalid_client\"], \"at\": \"token_url\"}]" },
	{ "verify", KEY_OBJECT, AT(verify), .of = &manifest_proof_table },
};

/* ---- defaults that follow from other keys ---- */

static void need_named(struct manifest_reader *r, struct manifest_auth *a, const char *name)
{
	const char **v = (const char **)a->needs;

	for (int i = 0; i < a->n_needs; i++)
		if (strcmp(v[i], name) == 0)
			return;
	if (a->n_needs < NEEDS_MAX)
		v[a->n_needs++] = arena_strdup(r->arena, name);
}

static void needs_of_text(struct manifest_reader *r, struct manifest_auth *a, const char *at)
{
	char name[SUBST_NAME_MAX];

	while (at && subst_next(&at, name))
		if (strncmp(name, "cred.", 5) == 0)
			need_named(r, a, name + 5);
}

static void needs_of_pairs(struct manifest_reader *r, struct manifest_auth *a,
			   const struct manifest_pairs *p)
{
	for (int i = 0; i < p->n; i++)
		needs_of_text(r, a, p->v[i].value);
}

static void needs_of_kind(struct manifest_reader *r, struct manifest_auth *a)
{
	static const char *const names[][2] = {
		[AUTH_API_KEY] = { "api_key" },
		[AUTH_BASIC] = { "username", "password" },
		[AUTH_BEARER] = { "api_key" },
		[AUTH_OAUTH2_CLIENT] = { "client_id", "client_secret" },
		[AUTH_TWO_STEP] = { "client_id", "client_secret" },
		[AUTH_OAUTH2_CODE] = { "client_id", "client_secret" },
		[AUTH_OAUTH2_DEVICE] = { "client_id" },
		[AUTH_HOOK] = { NULL },
		[AUTH_OAUTH2_JWT] = { "client_email", "private_key" },
	};

	a->needs = arena_alloc(r->arena, sizeof(*a->needs) * NEEDS_MAX);
	if (a->kind == AUTH_TWO_STEP) {
		needs_of_pairs(r, a, &a->params);
		needs_of_pairs(r, a, &a->headers);
	}
	if (a->kind == AUTH_SIGNED && a->sign.template) {
		needs_of_text(r, a, a->sign.template);
		needs_of_pairs(r, a, &a->sign.headers);
		need_named(r, a, a->sign.key);
		return;
	}
	for (int i = 0; i < 2 && a->n_needs == i && names[a->kind][i]; i++)
		need_named(r, a, names[a->kind][i]);
}

/* Where a credential goes, and which it is, follows from the kind where it is not said. */
static void auth_finish(struct manifest_reader *r, void *base)
{
	struct manifest_auth *a = base;

	if (!a->needs)
		needs_of_kind(r, a);
	if (!a->name && a->place == AUTH_IN_HEADER)
		a->name = "Authorization";
	if (!a->prefix)
		a->prefix = a->place != AUTH_IN_HEADER || strcmp(a->name, "Authorization") != 0 ? ""
			    : a->kind == AUTH_BASIC ? "Basic "
						    : "Bearer ";
}
const struct key_table manifest_auth_table = { TABLE(auth_keys), .finish = auth_finish };

/* ---- checks ---- */

static const char *kind_name(enum auth_kind kind)
{
	const struct key_word *w = auth_kind_words;

	while (w->name && w->value != (int)kind)
		w++;
	return w->name ? w->name : "";
}

#define KIND(k) (1u << (k))
#define KINDS_OF_GRANTS (KIND(AUTH_OAUTH2_CODE) | KIND(AUTH_OAUTH2_DEVICE))
#define KINDS_OF_TOKENS \
	(KIND(AUTH_OAUTH2_CLIENT) | KIND(AUTH_TWO_STEP) | KIND(AUTH_OAUTH2_JWT) | KINDS_OF_GRANTS)

/* Keys that mean something with some kinds alone. */
static void check_kind(struct manifest_reader *r, const struct manifest_auth *a)
{
	const struct {
		const char *path;
		bool given;
		unsigned needed, allowed;
	} keys[] = {
		{ "auth.token_url", a->token_url != NULL, KINDS_OF_TOKENS, KINDS_OF_TOKENS },
		{ "auth.params", a->params.n > 0, 0, KINDS_OF_TOKENS },
		{ "auth.headers", a->headers.n > 0, 0, KINDS_OF_TOKENS },
		{ "auth.method", a->get, 0, KIND(AUTH_TWO_STEP) },
		{ "auth.mint_limit", a->mint_count > 0, 0, KINDS_OF_TOKENS | KIND(AUTH_HOOK) },
		{ "auth.sign", a->sign.template != NULL,
		  r->owner->m.hooks.sign_request ? 0 : KIND(AUTH_SIGNED), KIND(AUTH_SIGNED) },
		{ "auth.authorize_url", a->authorize_url != NULL, KIND(AUTH_OAUTH2_CODE),
		  KIND(AUTH_OAUTH2_CODE) },
		{ "auth.device_url", a->device_url != NULL, KIND(AUTH_OAUTH2_DEVICE),
		  KIND(AUTH_OAUTH2_DEVICE) },
		{ "auth.authorize_params", a->authorize_params.n > 0, 0, KINDS_OF_GRANTS },
		{ "auth.refresh.lapses_after", a->refresh.lapses_ms > 0, 0, KINDS_OF_GRANTS },
		{ "auth.refresh.dies_unused_after", a->refresh.dies_unused_ms > 0, 0,
		  KINDS_OF_GRANTS | KIND(AUTH_TWO_STEP) | KIND(AUTH_API_KEY) | KIND(AUTH_BEARER) },
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (!keys[i].given && (keys[i].needed & KIND(a->kind)))
			reader_problem_at(r, keys[i].path, "missing: %s needs it",
					  kind_name(a->kind));
		if (keys[i].given && !(keys[i].allowed & KIND(a->kind)))
			reader_problem_at(r, keys[i].path, "means nothing with the kind \"%s\"",
					  kind_name(a->kind));
	}
}

static void check_place(struct manifest_reader *r, const struct manifest_auth *a)
{
	const char *place = a->place == AUTH_IN_QUERY ? "query" : "cookie";

	if (a->place == AUTH_IN_PATH && a->kind != AUTH_API_KEY)
		reader_problem_at(r, "auth.in",
				  "\"path\" means something with the kind \"api_key\" alone");
	if (a->place == AUTH_IN_HEADER || a->place == AUTH_IN_PATH)
		return;
	if (a->kind == AUTH_BASIC || a->kind == AUTH_SIGNED ||
	    (a->kind == AUTH_BEARER && a->place == AUTH_IN_QUERY))
		reader_problem_at(r, "auth.in", "\"%s\" means nothing with the kind \"%s\"", place,
				  kind_name(a->kind));
	if (!a->name)
		reader_problem_at(r, "auth.name", "missing: the %s that carries the key",
				  a->place == AUTH_IN_QUERY ? "parameter" : "cookie");
	else if (a->place == AUTH_IN_COOKIE && a->name[strcspn(a->name, " \t\r\n=;,\"")])
		reader_problem_at(r, "auth.name", "\"%s\" is no name of a cookie", a->name);
}

void manifest_check_auth(struct manifest_reader *r)
{
	const struct manifest_auth *a = &r->owner->m.auth;

	check_kind(r, a);
	check_place(r, a);
	if (a->mint_count && (double)a->mint_count * a->mint_share < 1)
		reader_problem_at(r, "auth.mint_limit", "a share of %g of %d leaves no token",
				  a->mint_share, a->mint_count);
	if (a->get && a->send_json)
		reader_problem_at(r, "auth.send", "a GET has no body: \"json\" cannot be sent");
	if (a->headers.n > TOKEN_HEADERS_MAX)
		reader_problem_at(r, "auth.headers", "more than %d headers", TOKEN_HEADERS_MAX);
	if (a->sign.headers.n > TOKEN_HEADERS_MAX)
		reader_problem_at(r, "auth.sign.headers", "more than %d headers",
				  TOKEN_HEADERS_MAX);
	manifest_check_headers(r, "auth.headers", &a->headers);
	manifest_check_headers(r, "auth.sign.headers", &a->sign.headers);
	manifest_check_url(r, "auth.token_url", a->token_url, false);
	manifest_check_url(r, "auth.authorize_url", a->authorize_url, false);
	manifest_check_url(r, "auth.device_url", a->device_url, false);
}
