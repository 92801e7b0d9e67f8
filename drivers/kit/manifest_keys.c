/* Format 1 as tables: every key there is, its type, its place, its default.  A new key is a line
 * here: the reader, the checks of type, the JSON Schema and `driver show` follow. */
#include <stddef.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_adapters.h"
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
	{ "wait", KEY_DURATION, AT(wait_ms), .fallback = "\"10s\"", .min = 1, .max = DAY_MS },
	{ "connect", KEY_DURATION, AT(connect_ms), .fallback = "\"5s\"", .min = 1, .max = DAY_MS },
	{ "write", KEY_DURATION, AT(write_ms), .fallback = "\"10s\"", .min = 1, .max = DAY_MS },
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
	{ "json", FORMAT_JSON }, { "jsonl", FORMAT_JSONL }, { "xml", FORMAT_XML },
	{ "csv", FORMAT_CSV },   { "text", FORMAT_TEXT },   { NULL, 0 },
};
static const struct key_word body_words[] = { { "json", BODY_JSON },
					      { "form", BODY_FORM },
					      { "xml", BODY_XML },
					      { "mail", BODY_MAIL },
					      { NULL, 0 } };

static const struct key_word version_words[] = { { "base", VERSION_SAID },
						 { "path", VERSION_IN_PATH },
						 { "header", VERSION_IN_HEADER },
						 { NULL, 0 } };
static const struct manifest_key version_keys[] = {
	{ "value", KEY_TEXT, AT(version), .flags = KEY_REQUIRED },
	{ "in", KEY_WORD, AT(version_in), .fallback = "\"base\"", .words = version_words },
	{ "name", KEY_TEXT, AT(version_name) },
};
static bool version_present(const void *base)
{
	return ((const struct manifest *)base)->version != NULL;
}
static const struct key_table version_table = { TABLE(version_keys), .shorthand = "value",
						.present = version_present };

static const struct manifest_key api_keys[] = {
	{ "base", KEY_OBJECT, .of = &base_table },
	{ "version", KEY_OBJECT, .of = &version_table },
	{ "headers", KEY_PAIRS, AT(headers) },
	{ "timeout", KEY_OBJECT, .of = &timeout_table },
	{ "concurrency", KEY_OBJECT, .of = &concurrency_table },
	{ "format", KEY_WORD, AT(format), .fallback = "\"json\"", .words = format_words },
	{ "body", KEY_WORD, AT(body), .fallback = "\"json\"", .words = body_words },
	{ "drop", KEY_TEXTS, AT(drop), .n_at = offsetof(struct manifest, n_drop) },
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

#define TEXT_SCHEMA "{\"type\":\"string\",\"minLength\":1}"
#define ONE_STATUS                                                \
	"{\"type\":\"integer\",\"minimum\":100,\"maximum\":599}," \
	"{\"type\":\"string\",\"pattern\":\"^[1-5]xx$\"}"
#define STATUS_SCHEMA             \
	"{\"anyOf\":[" ONE_STATUS \
	",{\"type\":\"array\",\"minItems\":1,\"items\":{\"anyOf\":[" ONE_STATUS "]}}]}"

#define AT(member) .at = offsetof(struct manifest_rule, member)
#define RULE_KEYS                                                                                \
	{ "status", KEY_OWN, .read = read_statuses, .print = print_statuses,                     \
	  .schema = STATUS_SCHEMA },                                                             \
		{ "json", KEY_PATH, AT(json) }, { "in", KEY_JSON_LIST, AT(in) },                 \
		{ "not_in", KEY_JSON_LIST, AT(not_in) },                                         \
		{ "contains", KEY_OWN, .read = read_json_contains, .print = print_json_contains, \
		  .schema = TEXT_SCHEMA },                                                       \
		{ "text", KEY_OWN, .read = read_body_contains, .print = print_body_contains,     \
		  .schema = TEXT_SCHEMA },                                                       \
		{ "header", KEY_HEADER, AT(header) },                                            \
	{                                                                                        \
		"at", KEY_OWN, .read = read_rule_at, .print = print_rule_at,                     \
			       .schema = "{\"const\":\"token_url\"}"                             \
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
	if ((u->in || u->not_in) && !u->json)
		reader_problem(r, "\"%s\" needs \"json\", the path of what is looked up",
			       u->in ? "in" : "not_in");
}

static void broken_on_finish(struct manifest_reader *r, void *base)
{
	((struct manifest_rule *)base)->class = ERR_AUTH;
	rule_finish(r, base);
}

static const struct manifest_key error_keys[] = {
	RULE_KEYS,
	{ "class", KEY_WORD, AT(class), .flags = KEY_REQUIRED, .words = class_words },
	{ "action", KEY_OWN, .read = read_action, .print = print_action },
};
static const struct key_table error_table = { TABLE(error_keys),
					      .size = sizeof(struct manifest_rule),
					      .finish = rule_finish };
static const struct manifest_key broken_on_keys[] = { RULE_KEYS };
const struct key_table manifest_broken_on = { TABLE(broken_on_keys),
					      .size = sizeof(struct manifest_rule),
					      .finish = broken_on_finish };
#undef AT

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
	  .print = print_limit_scope,
	  .schema = "{\"anyOf\":[{\"enum\":[\"integration\",\"partner\",\"egress\"]},"
		    "{\"type\":\"string\",\"pattern\":\"^endpoints:[a-z0-9_]{1,40}$\"}]}" },
	{ "kind", KEY_WORD, AT(kind), .fallback = "\"sliding\"", .words = limit_kind_words },
	{ "rate", KEY_INT64, AT(rate), .flags = KEY_REQUIRED, .min = 1, .max = 1000000000 },
	{ "window", KEY_DURATION, AT(window_ms), .flags = KEY_REQUIRED, .min = 1,
	  .max = 31 * DAY_MS },
	{ "share", KEY_SHARE, AT(share), .fallback = "0.8" },
	{ "burst", KEY_INT64, AT(burst), .min = 1, .max = 1000000000 },
	{ "weight", KEY_OWN, .fallback = "1", .read = read_limit_weight,
	  .print = print_limit_weight,
	  .schema = "{\"anyOf\":[{\"type\":\"integer\",\"minimum\":1},"
		    "{\"type\":\"string\",\"pattern\":\"^header:.\"}]}" },
};
const struct key_table manifest_limit_table = { TABLE(limit_keys),
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
};
static bool hooks_present(const void *base)
{
	const struct manifest_hooks *h = &((const struct manifest *)base)->hooks;

	return h->decode_body || h->sign_request || h->login || h->next_page || h->adapt_item ||
	       h->verify_webhook || h->plan_action;
}
static const struct key_table hooks_table = { TABLE(hook_keys), .present = hooks_present };

static const struct manifest_key rollout_keys[] = {
	{ "adapter", KEY_OWN, .schema = "{\"type\":\"object\"}", .flags = KEY_REQUIRED,
	  .read = read_rollout, .print = print_rollout },
};
static bool rollout_present(const void *base)
{
	const struct manifest *m = base;
	struct buf ignored = BUF_INIT;
	bool present = print_rollout(m, &ignored);

	buf_clear(&ignored);
	return present;
}
static const struct key_table rollout_table = { TABLE(rollout_keys), .present = rollout_present };

static const struct manifest_key checks_keys[] = {
	{ "daily", KEY_TEXTS, AT(daily), COUNT(n_daily) },
	{ "fixtures", KEY_TEXT, AT(fixtures) },
};
static bool checks_present(const void *base)
{
	const struct manifest *m = base;

	return m->n_daily > 0 || m->fixtures;
}
static const struct key_table checks_table = { TABLE(checks_keys), .present = checks_present };

static const struct manifest_key manifest_keys[] = {
	{ "partner", KEY_TEXT, AT(partner), .flags = KEY_REQUIRED },
	{ "manifest", KEY_FORMAT, .flags = KEY_REQUIRED, .min = 1, .max = 1 },
	{ "title", KEY_TEXT, AT(title) },
	{ "critical", KEY_BOOL, AT(critical), .fallback = "true" },
	{ "api", KEY_OBJECT, .of = &api_table },
	{ "auth", KEY_OBJECT, AT(auth), .of = &manifest_auth_table },
	{ "limits", KEY_LIST, AT(limits), COUNT(n_limits), .of = &manifest_limit_table },
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
	{ "lookups", KEY_NAMED, AT(lookups), COUNT(n_lookups), .of = &manifest_lookup_table },
	{ "cache", KEY_OWN, .schema = "{\"type\":\"object\"}", .read = read_cache,
	  .print = print_cache },
	{ "hooks", KEY_OBJECT, .of = &hooks_table },
	{ "settings", KEY_NAMED, AT(typed), COUNT(n_typed), .of = &manifest_setting_table },
	{ "webhooks", KEY_OBJECT, AT(webhooks), .of = &manifest_webhooks_table },
	{ "actions", KEY_NAMED, AT(actions), COUNT(n_actions), .of = &manifest_action_table },
	{ "channel", KEY_OBJECT, AT(channel), .of = &manifest_channel_table },
	{ "adapters", KEY_OWN, .schema = "{\"type\":\"object\"}", .read = read_adapters,
	  .print = print_adapters },
	{ "rollout", KEY_OBJECT, .of = &rollout_table },
	{ "checks", KEY_OBJECT, .of = &checks_table },
};

static void manifest_finish(struct manifest_reader *r, void *base)
{
	struct manifest *m = base;

	if (!m->title)
		m->title = m->partner;
}
const struct key_table manifest_table = { TABLE(manifest_keys), .finish = manifest_finish };
