/* Format 1 as tables: webhooks, settings (see manifest_keys.c). */
#include <stddef.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"
#include "drivers/kit/manifest_request.h"

#define DAY_MS INT64_C(86400000)

const char *request_path(const struct manifest_request *q, const char **method)
{
	const struct {
		const char *method, *path;
	} all[] = { { "GET", q->get },
		    { "POST", q->post },
		    { "PUT", q->put },
		    { "PATCH", q->patch },
		    { "DELETE", q->remove } };

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (!all[i].path)
			continue;
		if (method)
			*method = all[i].method;
		return all[i].path;
	}
	return NULL;
}

void request_finish(struct manifest_reader *r, const struct manifest_request *q)
{
	int n = (q->get != NULL) + (q->post != NULL) + (q->put != NULL) + (q->patch != NULL) +
		(q->remove != NULL);

	if (n == 0)
		reader_problem(r, "missing: one of get, post, put, patch and delete");
	else if (n > 1)
		reader_problem(r, "one request is one of get, post, put, patch and delete");
	else if (request_path(q, NULL)[0] != '/')
		reader_problem(r, "a path begins with /");
	if (q->json && q->get)
		reader_problem(r, "\"json\" is a body, and a get has none");
}

static bool request_present(const void *base)
{
	return request_path(base, NULL) != NULL;
}
static void request_alone_finish(struct manifest_reader *r, void *base)
{
	request_finish(r, base);
}
static const struct manifest_key request_keys[] = { REQUEST_KEYS(0) };
const struct key_table manifest_request_table = { TABLE(request_keys), .present = request_present,
						  .finish = request_alone_finish };

/* ---- webhooks.verify ---- */

#define AT(member) .at = offsetof(struct manifest_verify, member)

static const struct key_word scheme_words[] = {
	{ "standard_webhooks", VERIFY_STANDARD },
	{ "stripe", VERIFY_STRIPE },
	{ "slack", VERIFY_SLACK },
	{ "twilio", VERIFY_TWILIO },
	{ "sendgrid", VERIFY_SENDGRID },
	{ "github", VERIFY_GITHUB },
	{ "shopify", VERIFY_SHOPIFY },
	{ "hmac", VERIFY_HMAC },
	{ "sha256_suffix", VERIFY_SHA256_SUFFIX },
	{ "basic", VERIFY_BASIC },
	{ "header_token", VERIFY_HEADER_TOKEN },
	{ "url_secret", VERIFY_URL_SECRET },
	{ "none", VERIFY_NOTHING },
	{ NULL, VERIFY_NO_WEBHOOKS },
};
static const struct key_word alg_words[] = { { "sha1", VERIFY_SHA1 },
					     { "sha256", VERIFY_SHA256 },
					     { "sha512", VERIFY_SHA512 },
					     { NULL, 0 } };
static const struct key_word encoding_words[] = { { "hex", false },
						  { "base64", true },
						  { NULL, 0 } };

static const struct manifest_key secret_keys[] = {
	REQUEST_KEYS(offsetof(struct manifest_verify, secret)),
	{ "path", KEY_PATH, AT(secret_path), .flags = KEY_REQUIRED },
};
static bool secret_present(const void *base)
{
	return ((const struct manifest_verify *)base)->secret_path != NULL;
}
static void secret_finish(struct manifest_reader *r, void *base)
{
	request_finish(r, &((const struct manifest_verify *)base)->secret);
}
static const struct key_table secret_table = { TABLE(secret_keys), .present = secret_present,
					       .finish = secret_finish };

static const struct manifest_key verify_keys[] = {
	{ "scheme", KEY_WORD, AT(scheme), .fallback = "\"hmac\"", .words = scheme_words },
	{ "prefix", KEY_TEXT, AT(prefix) },
	{ "header", KEY_HEADER, AT(header) },
	{ "timestamp", KEY_HEADER, AT(timestamp) },
	{ "id", KEY_HEADER, AT(id) },
	{ "split", KEY_TEXT, AT(split) },
	{ "signed", KEY_TEXT, AT(signed_bytes) },
	{ "key", KEY_TEXT, AT(key), .fallback = "\"webhook_secret\"" },
	{ "alg", KEY_WORD, AT(alg), .fallback = "\"sha256\"", .words = alg_words },
	{ "encoding", KEY_WORD_BOOL, AT(base64), .fallback = "\"hex\"", .words = encoding_words },
	{ "tolerance", KEY_DURATION, AT(tolerance_ms), .fallback = "\"5m\"", .min = 1000,
	  .max = DAY_MS },
	{ "i_know", KEY_BOOL, AT(i_know) },
	{ "secret", KEY_OBJECT, .of = &secret_table },
};
static bool verify_present(const void *base)
{
	return ((const struct manifest_verify *)base)->scheme != VERIFY_NO_WEBHOOKS;
}
static const struct key_table verify_table = { TABLE(verify_keys), .shorthand = "scheme",
					       .present = verify_present };
#undef AT

/* ---- webhooks ---- */

#define AT(member) .at = offsetof(struct manifest_webhooks, member)
#define COUNT(member) .n_at = offsetof(struct manifest_webhooks, member)

static const struct manifest_key enrol_keys[] = {
	REQUEST_KEYS(offsetof(struct manifest_webhooks, enrol)),
	{ "id", KEY_PATH, AT(enrol_id) },
	{ "records", KEY_PATH, AT(enrol_records) },
	{ "enabled", KEY_PATH, AT(enrol_on) },
	{ "list", KEY_OBJECT, AT(list), .of = &manifest_request_table },
	{ "remove", KEY_OBJECT, AT(unenrol), .of = &manifest_request_table },
};
static bool enrol_present(const void *base)
{
	return request_path(&((const struct manifest_webhooks *)base)->enrol, NULL) != NULL;
}
static void enrol_finish(struct manifest_reader *r, void *base)
{
	const struct manifest_webhooks *w = base;

	request_finish(r, &w->enrol);
	if (request_path(&w->unenrol, NULL) && !w->enrol_id)
		reader_problem(r, "\"remove\" needs \"id\", the path of what names a registration");
	if ((w->enrol_records || w->enrol_on) && !request_path(&w->list, NULL))
		reader_problem(r,
			       "\"records\" and \"enabled\" are paths in the answer of \"list\"");
}
static const struct key_table enrol_table = { TABLE(enrol_keys), .present = enrol_present,
					      .finish = enrol_finish };

static const struct key_word do_words[] = {
	{ "fetch", EVENT_FETCH },
	{ "upsert", EVENT_UPSERT },
	{ "delete", EVENT_DELETE },
	{ "auth_revoked", EVENT_AUTH_REVOKED },
	{ "credentials_rotated", EVENT_CREDENTIALS_ROTATED },
	{ "ignore", EVENT_IGNORE },
	{ "delivery", EVENT_DELIVERY },
	{ NULL, 0 },
};
static const struct key_word delivery_words[] = { { "sent", DELIVERY_SENT },
						  { "delivered", DELIVERY_DELIVERED },
						  { "failed", DELIVERY_FAILED },
						  { NULL, DELIVERY_NOT_SAID } };
static const struct manifest_key event_keys[] = {
	{ "collection", KEY_TEXT, .at = offsetof(struct manifest_event, collection) },
	{ "id", KEY_PATH, .at = offsetof(struct manifest_event, id), .flags = KEY_ANSWER },
	{ "item", KEY_PATH, .at = offsetof(struct manifest_event, item) },
	{ "credentials", KEY_PAIRS, .at = offsetof(struct manifest_event, credentials) },
	{ "do", KEY_WORD, .at = offsetof(struct manifest_event, act), .fallback = "\"fetch\"",
	  .words = do_words },
	{ "delivery", KEY_WORD, .at = offsetof(struct manifest_event, delivery),
	  .words = delivery_words },
	{ "reference", KEY_PATH, .at = offsetof(struct manifest_event, reference) },
	{ "reason", KEY_PATH, .at = offsetof(struct manifest_event, reason) },
};
static const struct key_table event_table = { TABLE(event_keys),
					      .size = sizeof(struct manifest_event),
					      .name_at = offsetof(struct manifest_event, name) };

static const struct manifest_key event_id_keys[] = {
	{ "path", KEY_PATH, AT(event_id), .flags = KEY_ANSWER },
	{ "hash", KEY_TEXTS, AT(hash), COUNT(n_hash) },
};
static bool event_id_present(const void *base)
{
	const struct manifest_webhooks *w = base;

	return w->event_id || w->n_hash;
}
static const struct key_table event_id_table = { TABLE(event_id_keys), .shorthand = "path",
						 .present = event_id_present };

static const struct manifest_key whose_keys[] = {
	{ "path", KEY_PATH, AT(whose), .flags = KEY_REQUIRED | KEY_ANSWER },
	{ "setting", KEY_TEXT, AT(whose_setting), .flags = KEY_REQUIRED },
};
static bool whose_present(const void *base)
{
	return ((const struct manifest_webhooks *)base)->whose != NULL;
}
static const struct key_table whose_table = { TABLE(whose_keys), .present = whose_present };

static const struct manifest_key callback_keys[] = {
	{ "param", KEY_TEXT, AT(callback_param), .flags = KEY_REQUIRED },
	{ "setting", KEY_TEXT, AT(callback_setting) },
};
static bool callback_present(const void *base)
{
	return ((const struct manifest_webhooks *)base)->callback_param != NULL;
}
static const struct key_table callback_table = { TABLE(callback_keys), .shorthand = "param",
						 .present = callback_present };

static const struct manifest_key webhooks_keys[] = {
	{ "verify", KEY_OBJECT, AT(verify), .of = &verify_table },
	{ "records", KEY_PATH, AT(records), .flags = KEY_WILD },
	{ "event", KEY_PATH, AT(event), .flags = KEY_REQUIRED | KEY_ANSWER },
	{ "event_id", KEY_OBJECT, .of = &event_id_table },
	{ "happened_at", KEY_PATH, AT(happened_at), .flags = KEY_ANSWER },
	{ "integration", KEY_OBJECT, .of = &whose_table },
	{ "callback", KEY_OBJECT, .of = &callback_table },
	{ "register", KEY_OBJECT, .of = &enrol_table },
	{ "events", KEY_NAMED, AT(events), COUNT(n_events), .of = &event_table,
	  .flags = KEY_REQUIRED },
};
static bool webhooks_present(const void *base)
{
	return ((const struct manifest_webhooks *)base)->event != NULL;
}
static void webhooks_finish(struct manifest_reader *r, void *base)
{
	const struct manifest_webhooks *w = base;

	if (w->event_id && w->n_hash)
		reader_problem(r, "\"event_id\" is a path or a hash, not both");
}
const struct key_table manifest_webhooks_table = { TABLE(webhooks_keys),
						   .present = webhooks_present,
						   .finish = webhooks_finish };
#undef AT
#undef COUNT

/* ---- settings ---- */

#define AT(member) .at = offsetof(struct manifest_setting, member)

static const struct key_word setting_words[] = {
	{ "text", SETTING_TEXT }, { "int", SETTING_INT }, { "number", SETTING_NUMBER },
	{ "bool", SETTING_BOOL }, { "url", SETTING_URL }, { NULL, SETTING_TEXT },
};
static const struct manifest_key setting_keys[] = {
	{ "about", KEY_TEXT, AT(about) },
	{ "as", KEY_WORD, AT(type), .fallback = "\"text\"", .words = setting_words },
	{ "required", KEY_BOOL, AT(required) },
	{ "default", KEY_JSON, AT(fallback) },
	{ "choices", KEY_TEXTS, AT(choices), .n_at = offsetof(struct manifest_setting, n_choices) },
};
const struct key_table manifest_setting_table = {
	TABLE(setting_keys), .size = sizeof(struct manifest_setting),
	.name_at = offsetof(struct manifest_setting, name), .shorthand = "as"
};
