/* Format 1 as tables: every key there is, its type, its place, its default.  To run a key that says LATER
 * today, give it a type and a place here; the reader, the checks of type and `driver show` follow. */
#include <stddef.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"

#define SECOND_MS INT64_C(1000)
#define DAY_MS INT64_C(86400000)
#define YEAR_MS (366 * DAY_MS)

/* ---- api, jobs ---- */

#define AT(member) .at = offsetof(struct manifest, member)

static const struct manifest_key base_keys[] = {
	{ "production", KEY_TEXT, AT(base_production), .flags = KEY_REQUIRED },
	{ "sandbox", KEY_TEXT, AT(base_sandbox) },
};
static const struct key_table base_table = { TABLE(base_keys) };

static const struct manifest_key timeout_keys[] = {
	{ "connect", KEY_DURATION, AT(connect_ms), .fallback = "\"5s\"", .min = 1, .max = DAY_MS },
	{ "read", KEY_DURATION, AT(read_ms), .fallback = "\"10s\"", .min = 1, .max = DAY_MS },
	{ "total", KEY_DURATION, AT(total_ms), .fallback = "\"60s\"", .min = 1, .max = DAY_MS },
};
static const struct key_table timeout_table = { TABLE(timeout_keys) };

static const struct manifest_key concurrency_keys[] = {
	{ "partner", KEY_INT, AT(concurrency_partner), .fallback = "16", .min = 1, .max = 100000 },
	{ "integration", KEY_INT, AT(concurrency_integration), .fallback = "4", .min = 1,
	  .max = 100000 },
};
static const struct key_table concurrency_table = { TABLE(concurrency_keys) };

static const struct key_word format_words[] = {
	{ "json", 0 },
	{ "jsonl", KEY_WORD_LATER },
	{ "xml", KEY_WORD_LATER },
	{ "csv", KEY_WORD_LATER },
	{ "text", KEY_WORD_LATER },
	{ NULL, 0 },
};
static const struct key_word body_words[] = { { "json", 0 },
					      { "form", KEY_WORD_LATER },
					      { NULL, 0 } };

static const struct manifest_key api_keys[] = {
	{ "base", KEY_OBJECT, .of = &base_table },
	{ "version", KEY_TEXT, AT(version) },
	{ "headers", KEY_PAIRS, AT(headers) },
	{ "timeout", KEY_OBJECT, .of = &timeout_table },
	{ "concurrency", KEY_OBJECT, .of = &concurrency_table },
	{ "format", KEY_FIXED, .words = format_words },
	{ "body", KEY_FIXED, .words = body_words },
};
static const struct key_table api_table = { TABLE(api_keys) };

static const struct manifest_key in_flight_keys[] = {
	{ "partner", KEY_INT, AT(jobs_partner), .fallback = "2000", .min = 1, .max = 1000000 },
	{ "integration", KEY_INT, AT(jobs_integration), .fallback = "64", .min = 1,
	  .max = 1000000 },
};
static const struct key_table in_flight_table = { TABLE(in_flight_keys) };
static const struct manifest_key jobs_keys[] = { { "in_flight", KEY_OBJECT,
						   .of = &in_flight_table } };
static const struct key_table jobs_table = { TABLE(jobs_keys) };
#undef AT

/* ---- errors ---- */

#define AT(member) .at = offsetof(struct manifest_rule, member)
#define RULE_KEYS                                                                                  \
	{ "status", KEY_OWN, .read = read_statuses, .print = print_statuses },                     \
		{ "json", KEY_PATH, AT(json) }, { "in", KEY_JSON_LIST, AT(in) },                   \
		{ "contains", KEY_OWN, .read = read_json_contains, .print = print_json_contains }, \
		{ "text", KEY_OWN, .read = read_body_contains, .print = print_body_contains },     \
		{ "header", KEY_HEADER, AT(header) },                                              \
	{                                                                                          \
		"at", KEY_OWN, .read = read_rule_at, .print = print_rule_at                        \
	}

/* The classes that an answer can have; the others are Longshore's own. */
static const struct key_word class_words[] = {
	{ "transient", ERR_TRANSIENT }, { "rate_limit", ERR_RATE_LIMIT },
	{ "client", ERR_CLIENT },       { "auth", ERR_AUTH },
	{ "data", ERR_DATA },           { NULL, 0 },
};

static void rule_finish(struct manifest_reader *r, void *base)
{
	const struct manifest_rule *u = base;

	if (!u->n_statuses && !u->json && !u->contains && !u->header && !u->at_token_url)
		reader_problem(r,
			       "a rule needs something to match: status, json, text, header or at");
	if (u->in && !u->json)
		reader_problem(r, "\"in\" needs \"json\", the path of what is looked up");
}

static void broken_on_finish(struct manifest_reader *r, void *base)
{
	((struct manifest_rule *)base)->class = ERR_AUTH;
	rule_finish(r, base);
}

static const struct manifest_key error_keys[] = {
	RULE_KEYS,
	{ "class", KEY_WORD, AT(class), .flags = KEY_REQUIRED, .words = class_words },
	LATER("action"),
};
static const struct key_table error_table = { TABLE(error_keys),
					      .size = sizeof(struct manifest_rule),
					      .finish = rule_finish };
static const struct manifest_key broken_on_keys[] = { RULE_KEYS };
static const struct key_table broken_on_table = { TABLE(broken_on_keys),
						  .size = sizeof(struct manifest_rule),
						  .finish = broken_on_finish };
#undef AT

/* ---- auth ---- */

#define AT(member) .at = offsetof(struct manifest_auth, member)
#define COUNT(member) .n_at = offsetof(struct manifest_auth, member)

static const struct key_word auth_kind_words[] = {
	{ "none", AUTH_NONE },
	{ "api_key", AUTH_API_KEY },
	{ "basic", AUTH_BASIC },
	{ "bearer", AUTH_BEARER },
	{ "oauth2_client_credentials", AUTH_OAUTH2_CLIENT },
	{ "two_step", KEY_WORD_LATER },
	{ "oauth2_code", KEY_WORD_LATER },
	{ "oauth2_device", KEY_WORD_LATER },
	{ "signed", AUTH_SIGNED },
	{ "hook", AUTH_HOOK },
	{ NULL, 0 },
};
static const struct key_word auth_place_words[] = { { "header", AUTH_IN_HEADER },
						    { "query", AUTH_IN_QUERY },
						    { "cookie", KEY_WORD_LATER },
						    { NULL, 0 } };
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

static const struct manifest_key auth_keys[] = {
	{ "kind", KEY_WORD, AT(kind), .fallback = "\"none\"", .words = auth_kind_words },
	{ "in", KEY_WORD, AT(place), .fallback = "\"header\"", .words = auth_place_words },
	{ "name", KEY_TEXT, AT(name) },
	{ "prefix", KEY_TEXT, AT(prefix), .flags = KEY_EMPTY },
	{ "token_url", KEY_TEXT, AT(token_url) },
	{ "send", KEY_WORD_BOOL, AT(send_json), .fallback = "\"form\"", .words = send_words },
	{ "client_auth", KEY_WORD_BOOL, AT(secret_in_basic), .fallback = "\"body\"",
	  .words = client_auth_words },
	{ "params", KEY_PAIRS, AT(params) },
	{ "token", KEY_PATH, AT(token_path), .fallback = "\"access_token\"" },
	{ "expires", KEY_OWN, .fallback = "\"seconds:expires_in\"", .read = read_expires,
	  .print = print_expires },
	{ "early", KEY_DURATION, AT(early_ms), .fallback = "\"5m\"", .max = DAY_MS },
	{ "usable_after", KEY_DURATION, AT(usable_after_ms), .max = DAY_MS },
	{ "mint_limit", KEY_OBJECT, .of = &mint_table },
	{ "needs", KEY_TEXTS, AT(needs), COUNT(n_needs) },
	{ "broken_on", KEY_LIST, AT(broken_on), COUNT(n_broken_on), .of = &broken_on_table,
	  .fallback =
		  "[{\"json\": \"error\", \"in\": [\"invalid_grant\", \"invalid_client\"], \"at\": \"token_url\"}]" },
	LATER("refresh"),
	LATER("verify"),
	LATER("method"),
	LATER("headers"),
};

/* Where a credential goes, and which it is, follows from the kind where it is not said. */
static void auth_finish(struct manifest_reader *r, void *base)
{
	static const char *const key[] = { "api_key" };
	static const char *const login[] = { "username", "password" };
	static const char *const client[] = { "client_id", "client_secret" };
	static const struct {
		const char *const *needs;
		int n;
	} needs[] = {
		[AUTH_NONE] = { NULL, 0 },
		[AUTH_API_KEY] = { key, 1 },
		[AUTH_BASIC] = { login, 2 },
		[AUTH_BEARER] = { key, 1 },
		[AUTH_OAUTH2_CLIENT] = { client, 2 },
		[AUTH_SIGNED] = { NULL, 0 },
		[AUTH_HOOK] = { NULL, 0 },
	};
	struct manifest_auth *a = base;

	if (!a->needs) {
		a->needs = needs[a->kind].needs;
		a->n_needs = needs[a->kind].n;
	}
	if (!a->name && a->place == AUTH_IN_HEADER)
		a->name = "Authorization";
	if (!a->prefix)
		a->prefix = a->place != AUTH_IN_HEADER || strcmp(a->name, "Authorization") != 0 ? ""
			    : a->kind == AUTH_BASIC ? "Basic "
						    : "Bearer ";
}
static const struct key_table auth_table = { TABLE(auth_keys), .finish = auth_finish };
#undef AT
#undef COUNT

/* ---- limits ---- */

#define AT(member) .at = offsetof(struct manifest_limit, member)

static const struct key_word limit_kind_words[] = {
	{ "sliding", LIMIT_SLIDING },
	{ "fixed", LIMIT_FIXED },
	{ "bucket", LIMIT_BUCKET },
	{ NULL, 0 },
};
static const struct manifest_key limit_keys[] = {
	{ "scope", KEY_OWN, .fallback = "\"integration\"", .read = read_limit_scope,
	  .print = print_limit_scope },
	{ "kind", KEY_WORD, AT(kind), .fallback = "\"sliding\"", .words = limit_kind_words },
	{ "rate", KEY_INT64, AT(rate), .flags = KEY_REQUIRED, .min = 1, .max = 1000000000 },
	{ "window", KEY_DURATION, AT(window_ms), .flags = KEY_REQUIRED, .min = 1,
	  .max = 31 * DAY_MS },
	{ "share", KEY_SHARE, AT(share), .fallback = "0.8" },
	{ "burst", KEY_INT64, AT(burst), .min = 1, .max = 1000000000 },
	{ "weight", KEY_OWN, .fallback = "1", .read = read_limit_weight,
	  .print = print_limit_weight },
};
static const struct key_table limit_table = { TABLE(limit_keys),
					      .size = sizeof(struct manifest_limit),
					      .finish = limit_finish };
#undef AT

#define AT(member) .at = offsetof(struct manifest_limit_header, member)

static const struct key_word reset_words[] = {
	{ "seconds", RESET_SECONDS }, { "epoch", RESET_EPOCH }, { "epoch_ms", RESET_EPOCH_MS },
	{ "date", RESET_DATE },       { NULL, RESET_GUESSED },
};
static const struct manifest_key limit_header_keys[] = {
	{ "window", KEY_DURATION, AT(window_ms), .flags = KEY_REQUIRED, .min = 1,
	  .max = 31 * DAY_MS },
	{ "limit", KEY_HEADER, AT(limit) },
	{ "remaining", KEY_HEADER, AT(remaining) },
	{ "reset", KEY_HEADER, AT(reset) },
	{ "unit", KEY_WORD, AT(unit), .words = reset_words },
};
static const struct key_table limit_header_table = { TABLE(limit_header_keys),
						     .size = sizeof(struct manifest_limit_header) };
#undef AT

/* ---- breaker ---- */

#define AT(member) .at = offsetof(struct manifest_group, member)
#define COUNT(member) .n_at = offsetof(struct manifest_group, member)

static const struct manifest_key group_keys[] = {
	{ "endpoints", KEY_TEXTS, AT(endpoints), COUNT(n_endpoints), .flags = KEY_REQUIRED },
};
static const struct key_table group_table = { TABLE(group_keys),
					      .size = sizeof(struct manifest_group),
					      .name_at = offsetof(struct manifest_group, name) };
#undef AT
#undef COUNT

#define AT(member) .at = offsetof(struct manifest_breaker, member)
#define COUNT(member) .n_at = offsetof(struct manifest_breaker, member)

static const struct manifest_key breaker_keys[] = {
	{ "failures", KEY_INT, AT(rules.failures), .fallback = "5", .min = 1, .max = 1000000 },
	{ "share", KEY_SHARE, AT(rules.share), .fallback = "0.5" },
	{ "calls", KEY_INT, AT(rules.calls), .fallback = "20", .min = 1, .max = 1000000 },
	{ "window", KEY_DURATION, AT(rules.window_ms), .fallback = "\"60s\"", .min = SECOND_MS,
	  .max = DAY_MS },
	{ "open", KEY_DURATION, AT(rules.open_ms), .fallback = "\"60s\"", .min = 100,
	  .max = DAY_MS },
	{ "open_max", KEY_DURATION, AT(rules.open_max_ms), .fallback = "\"10m\"", .min = 100,
	  .max = DAY_MS },
	{ "slow_start", KEY_DURATION, AT(rules.slow_start_ms), .fallback = "\"30s\"",
	  .max = DAY_MS },
	{ "probe", KEY_TEXT, AT(probe) },
	{ "groups", KEY_NAMED, AT(groups), COUNT(n_groups), .of = &group_table },
};
static const struct key_table breaker_table = { TABLE(breaker_keys) };
#undef AT
#undef COUNT

/* ---- pagination ---- */

#define AT(member) .at = offsetof(struct manifest_paging, member)

static const struct key_word paging_words[] = {
	{ "none", PAGING_NONE },
	{ "offset", PAGING_OFFSET },
	{ "page", PAGING_PAGE },
	{ "cursor", PAGING_CURSOR },
	{ "link", KEY_WORD_LATER },
	{ "next_url", KEY_WORD_LATER },
	{ "keyset", KEY_WORD_LATER },
	{ "ack_queue", KEY_WORD_LATER },
	{ NULL, 0 },
};
static const struct key_word paging_in_words[] = {
	{ "query", 0 }, { "body", KEY_WORD_LATER }, { "path", KEY_WORD_LATER }, { NULL, 0 }
};
static const struct manifest_key paging_keys[] = {
	{ "kind", KEY_WORD, AT(kind), .flags = KEY_REQUIRED, .words = paging_words },
	{ "in", KEY_FIXED, .words = paging_in_words },
	{ "limit_param", KEY_TEXT, AT(limit_param) },
	{ "offset_param", KEY_TEXT, AT(offset_param) },
	{ "page_param", KEY_TEXT, AT(page_param) },
	{ "cursor_param", KEY_TEXT, AT(cursor_param) },
	{ "cursor", KEY_PATH, AT(cursor), .flags = KEY_ANSWER },
	{ "total", KEY_PATH, AT(total), .flags = KEY_ANSWER },
	{ "first", KEY_INT64, AT(first), .fallback = "1", .min = 0, .max = 1000000 },
	{ "size", KEY_INT, AT(size), .fallback = "100", .min = 1, .max = 100000 },
	{ "max_pages", KEY_INT, AT(max_pages), .fallback = "10000", .min = 1, .max = 100000000 },
	{ "stop", KEY_OWN, .read = read_stops, .print = print_stops },
	LATER("expires"),
	LATER("rescan_overlap"),
	LATER("ack"),
	LATER("every"),
	LATER("param"),
	LATER("key"),
	LATER("next"),
};

static void add_stop(struct manifest_paging *p, enum stop_kind kind, const char *path)
{
	p->stops[p->n_stops++] = (struct manifest_stop){ kind, path };
}

static void paging_finish(struct manifest_reader *r, void *base)
{
	struct manifest_paging *p = base;

	if (p->n_stops)
		return;
	if (p->kind == PAGING_CURSOR)
		add_stop(p, STOP_NO_CURSOR, NULL);
	if (p->kind != PAGING_OFFSET && p->kind != PAGING_PAGE)
		return;
	add_stop(p, STOP_SHORT_PAGE, NULL);
	if (p->total)
		add_stop(p, STOP_TOTAL, p->total);
}
const struct key_table manifest_pagination = { TABLE(paging_keys), .finish = paging_finish };
#undef AT

/* ---- the whole ---- */

#define AT(member) .at = offsetof(struct manifest, member)
#define COUNT(member) .n_at = offsetof(struct manifest, member)

static const struct manifest_key hook_keys[] = {
	{ "decode_body", KEY_BOOL, AT(hooks.decode_body) },
	{ "sign_request", KEY_BOOL, AT(hooks.sign_request) },
	{ "login", KEY_BOOL, AT(hooks.login) },
	{ "next_page", KEY_BOOL, AT(hooks.next_page) },
	{ "adapt_item", KEY_BOOL, AT(hooks.adapt_item) },
	{ "verify_webhook", KEY_BOOL, AT(hooks.verify_webhook) },
	{ "plan_action", KEY_BOOL, AT(hooks.plan_action) },
	LATER("ack_body"),
};
static bool hooks_present(const void *base)
{
	const struct manifest_hooks *h = &((const struct manifest *)base)->hooks;

	return h->decode_body || h->sign_request || h->login || h->next_page || h->adapt_item ||
	       h->verify_webhook || h->plan_action;
}
static const struct key_table hooks_table = { TABLE(hook_keys), .present = hooks_present };

static const struct manifest_key manifest_keys[] = {
	{ "partner", KEY_TEXT, AT(partner), .flags = KEY_REQUIRED },
	{ "manifest", KEY_FORMAT, .flags = KEY_REQUIRED, .min = 1, .max = 1 },
	{ "title", KEY_TEXT, AT(title) },
	{ "critical", KEY_BOOL, AT(critical), .fallback = "true" },
	{ "api", KEY_OBJECT, .of = &api_table },
	{ "auth", KEY_OBJECT, AT(auth), .of = &auth_table },
	{ "limits", KEY_LIST, AT(limits), COUNT(n_limits), .of = &limit_table },
	{ "limit_headers", KEY_LIST, AT(limit_headers), COUNT(n_limit_headers),
	  .of = &limit_header_table },
	{ "retry_after", KEY_HEADERS, AT(retry_after), COUNT(n_retry_after),
	  .fallback =
		  "[\"retry-after\", \"x-retry-after\", \"ratelimit-reset\", \"x-ratelimit-retry-after\", "
		  "\"x-ratelimit-reset\", \"x-rate-limit-reset\"]" },
	{ "errors", KEY_LIST, AT(errors), COUNT(n_errors), .of = &error_table },
	{ "breaker", KEY_OBJECT, AT(breaker), .of = &breaker_table },
	{ "pagination", KEY_OBJECT, AT(paging), .of = &manifest_pagination,
	  .fallback = "{\"kind\": \"none\"}" },
	{ "jobs", KEY_OBJECT, .of = &jobs_table },
	{ "collections", KEY_NAMED, AT(collections), COUNT(n_collections),
	  .of = &manifest_collection_table },
	{ "hooks", KEY_OBJECT, .of = &hooks_table },
	LATER("webhooks"),
	LATER("actions"),
	LATER("cache"),
	LATER("rollout"),
	LATER("checks"),
};

static void manifest_finish(struct manifest_reader *r, void *base)
{
	struct manifest *m = base;

	if (!m->title)
		m->title = m->partner;
}
const struct key_table manifest_table = { TABLE(manifest_keys), .finish = manifest_finish };
