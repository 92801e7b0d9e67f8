#include "drivers/kit/webhook.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "drivers/kit/decode.h"
#include "drivers/kit/event.h"
#include "drivers/kit/form.h"
#include "drivers/kit/map_find.h"
#include "drivers/kit/sealed_body.h"

#define NAME_MAX_BYTES 200
#define ID_MAX_BYTES 255
#define REFERENCE_MAX_BYTES 64
#define HASHED "hash:"

void webhook_clear(struct webhook_delivery *d)
{
	cJSON_Delete(d->tree);
	arena_free(d->arena);
	buf_clear(&d->text);
	free(d->v);
	*d = (struct webhook_delivery){ 0 };
}

/* ---- the body ---- */

static bool ends_in(const char *s, size_t n, const char *with)
{
	size_t k = strlen(with);

	return n >= k && strncasecmp(s + n - k, with, k) == 0;
}

static bool is(const char *s, size_t n, const char *word)
{
	return n == strlen(word) && strncasecmp(s, word, n) == 0;
}

int webhook_type_of(const char *content_type, enum webhook_type *out)
{
	const char *s = content_type ? content_type + strspn(content_type, " \t") : "";
	size_t n = strcspn(s, "; \t");

	if (n == 0 || is(s, n, "text/plain") || is(s, n, "application/octet-stream"))
		*out = WEBHOOK_ANY;
	else if (ends_in(s, n, "/json") || ends_in(s, n, "+json"))
		*out = WEBHOOK_JSON;
	else if (is(s, n, "application/x-www-form-urlencoded"))
		*out = WEBHOOK_FORM;
	else if (ends_in(s, n, "/xml") || ends_in(s, n, "+xml"))
		*out = WEBHOOK_XML;
	else
		return -ENOTSUP;
	return 0;
}

static bool too_deep(const cJSON *v, int room)
{
	for (; v; v = v->next)
		if (v->child && (room == 0 || too_deep(v->child, room - 1)))
			return true;
	return false;
}

static int read_json(struct webhook_delivery *d, const char *p, size_t len, struct err *err)
{
	struct json_error bad;
	int rc = json_parse(p, len, JOB_MAX_BYTES, &d->tree, &bad);

	if (rc < 0)
		return err_set(err, -EINVAL, ERR_DATA, "json",
			       "the body is not JSON: line %d, column %d: %s", bad.line, bad.column,
			       bad.text);
	if (too_deep(d->tree, WEBHOOK_DEPTH_MAX))
		return err_set(err, -E2BIG, ERR_DATA, "json", "the body is nested deeper than %d",
			       WEBHOOK_DEPTH_MAX);
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool looks_like_json(const char *p, size_t len)
{
	size_t i = 0;

	while (i < len && is_blank(p[i]))
		i++;
	return i < len && (p[i] == '{' || p[i] == '[');
}

/* Some partners call JSON a form: what is a JSON object is one, whatever it is called. */
static int read_form(struct webhook_delivery *d, const char *p, size_t len, struct err *err)
{
	struct form form = { 0 };
	int rc;

	if (looks_like_json(p, len) && json_parse(p, len, JOB_MAX_BYTES, &d->tree, NULL) == 0) {
		cJSON_Delete(d->tree);
		d->tree = NULL;
		return read_json(d, p, len, err);
	}
	rc = form_read(&form, p, len);
	if (rc < 0)
		return err_set(err, rc, ERR_DATA, "form",
			       rc == -E2BIG
				       ? "the form has more than %d fields"
				       : "the form has a %% that is none (of %d fields at most)",
			       FORM_FIELDS_MAX);
	form_json(&form, &d->text);
	form_clear(&form);
	return read_json(d, d->text.data, d->text.len, err);
}

static int read_xml(const struct manifest *m, struct webhook_delivery *d, const char *p, size_t len,
		    struct err *err)
{
	int rc = decode_xml(m->xml_lists, m->n_xml_lists, p, len, JOB_MAX_BYTES, &d->text, err);

	if (rc < 0)
		return rc == -ENOMEM
			       ? err_set(err, -E2BIG, ERR_DATA, "xml", "the body is too large")
			       : -EINVAL;
	return read_json(d, d->text.data, d->text.len, err);
}

int webhook_read(const struct manifest *m, const char *content_type, const char *body, size_t len,
		 struct webhook_delivery *out, struct err *err)
{
	enum webhook_type type;
	int rc = webhook_type_of(content_type, &type);

	*out = (struct webhook_delivery){ .arena = arena_new() };
	if (len >= 3 && memcmp(body, "\xef\xbb\xbf", 3) == 0) {
		body += 3;
		len -= 3;
	}
	if (len == 0)
		rc = err_set(err, -EINVAL, ERR_DATA, "body", "the body is empty");
	else if (rc < 0)
		rc = err_set(err, rc, ERR_DATA, "content type",
			     "send application/json or application/x-www-form-urlencoded");
	else if (type == WEBHOOK_FORM)
		rc = read_form(out, body, len, err);
	else if (type == WEBHOOK_XML)
		rc = read_xml(m, out, body, len, err);
	else
		rc = read_json(out, body, len, err);
	if (rc == 0 && !out->text.len) { /* its own bytes go on, without the blanks around them */
		for (; is_blank(*body); body++)
			len--;
		for (; is_blank(body[len - 1]);)
			len--;
		buf_append(&out->text, body, len);
	}
	if (rc < 0)
		webhook_clear(out);
	return rc;
}

/* ---- events ---- */

struct split {
	const struct manifest *m;
	const struct manifest_webhooks *w;
	const struct hook_values *headers;
	struct webhook_delivery *d;
	const cJSON **records;
	int n, cap;
};

static int add_record(const cJSON *v, const char *key, int index, void *arg)
{
	struct split *s = arg;

	if (s->n == WEBHOOK_EVENTS_MAX)
		return -E2BIG;
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 8;
		s->records = mem_realloc(s->records, (size_t)s->cap * sizeof(*s->records));
	}
	s->records[s->n++] = v;
	return 0;
}

/* A list is its elements, anything else is one. */
static int add_records(const cJSON *v, const char *key, int index, void *arg)
{
	const cJSON *one;
	int rc = 0;

	if (!cJSON_IsArray(v))
		return cJSON_IsNull(v) ? 0 : add_record(v, key, index, arg);
	cJSON_ArrayForEach (one, v)
		if (rc == 0)
			rc = add_record(one, NULL, 0, arg);
	return rc;
}

static int find_records(struct split *s)
{
	const char *path = s->w->records;
	const cJSON *v;

	if (!path)
		return add_record(s->d->tree, NULL, 0, s);
	if (strchr(path, '*'))
		return json_path_each(s->d->tree, path, add_records, s);
	v = json_path(s->d->tree, path);
	return v ? add_records(v, NULL, 0, s) : 0;
}

static const char *text_at(const struct split *s, const struct item *i, const char *path)
{
	const char *v;

	if (!path)
		return NULL;
	if (strncmp(path, "header:", 7) != 0)
		return item_text(i, path);
	v = hook_value(s->headers, path + 7);
	return v && *v ? v : NULL;
}

/* At most max bytes, whole characters. */
static const char *cut(struct arena *a, const char *s, size_t max)
{
	size_t n = s ? strlen(s) : 0;

	if (n > max)
		n = utf8_valid_prefix(s, max);
	return n ? arena_strndup(a, s, n) : "";
}

static const char *hash_name(struct arena *a, const void *p, size_t n)
{
	uint8_t sum[SHA256_BYTES];
	char hex[INTAKE_HASH_CHARS + 1];

	crypto_sha256(p, n, sum);
	crypto_hex(sum, INTAKE_HASH_CHARS / 2, hex);
	return arena_printf(a, HASHED "%s", hex);
}

/* Of the values at the paths, each with its length before it; false: none is there. */
static bool hash_paths(const struct split *s, const struct item *i, struct buf *out)
{
	struct buf one = BUF_INIT;
	bool any = false;

	for (int k = 0; k < s->w->n_hash; k++) {
		const cJSON *v = item_find(i, s->w->hash[k]);

		buf_reset(&one);
		if (!json_is_nothing(v) && !json_scalar_text(v, &one))
			json_print(v, &one);
		any |= !json_is_nothing(v);
		buf_printf(out, "%zu:", one.len);
		buf_append(out, buf_str(&one), one.len);
	}
	buf_clear(&one);
	return any;
}

static const char *id_of(const struct split *s, const struct item *i, const struct webhook_event *e,
			 const char *said)
{
	const char *id = said ? said : text_at(s, i, s->w->event_id);
	struct arena *a = s->d->arena;
	struct buf hashed = BUF_INIT;

	/* a header is of the whole delivery */
	if (id && !said && s->n > 1 && strncmp(s->w->event_id, "header:", 7) == 0)
		id = arena_printf(a, "%s#%d", id, i->index);
	if (!id && s->w->n_hash && hash_paths(s, i, &hashed))
		id = hash_name(a, hashed.data, hashed.len);
	else if (!id)
		id = hash_name(a, e->body, e->body_len);
	else if (strlen(id) > ID_MAX_BYTES || !utf8_is_valid(id, strlen(id)))
		id = hash_name(a, id, strlen(id));
	buf_clear(&hashed);
	return id;
}

static const struct manifest_event *declared(const struct manifest_webhooks *w, const char *name)
{
	for (int i = 0; i < w->n_events; i++)
		if (strcmp(w->events[i].name, name) == 0)
			return &w->events[i];
	return NULL;
}

static void event_body(struct split *s, const cJSON *record, struct webhook_event *e)
{
	struct buf text = BUF_INIT;

	if (record == s->d->tree) {
		e->body = s->d->text.data;
		e->body_len = s->d->text.len;
		return;
	}
	json_print(record, &text);
	e->body = arena_strndup(s->d->arena, text.data, text.len);
	e->body_len = text.len;
	buf_clear(&text);
}

static void event_read(struct split *s, int index, const struct hook_event *said,
		       struct webhook_event *e)
{
	struct item i = { .json = s->records[index], .index = index, .arena = s->d->arena };
	struct buf name = BUF_INIT;
	const char *text;

	event_body(s, s->records[index], e);
	text = said && said->type ? said->type : text_at(s, &i, s->w->event);
	if (text)
		utf8_append_clean(&name, text, strlen(text));
	e->name = cut(s->d->arena, buf_str(&name), NAME_MAX_BYTES);
	buf_clear(&name);
	e->id = id_of(s, &i, e, said ? said->id : NULL);
	e->external_id = said && said->external_id ? said->external_id : NULL;
	e->whose = text_at(s, &i, s->w->whose);
	text = text_at(s, &i, s->w->happened_at);
	if (said && said->happened_ms)
		e->happened_us = said->happened_ms * 1000;
	else if (text && clock_parse_time(text, &e->happened_us, NULL) < 0)
		e->happened_us = 0;
	e->declared = declared(s->w, e->name);
	e->brings_credentials = event_brings_credentials(s->m, e->name);
}

int webhook_split(const struct manifest *m, const struct hook_values *headers,
		  const struct hook_event *said, const char *reference, struct webhook_delivery *d,
		  struct err *err)
{
	struct split s = { .m = m, .w = &m->webhooks, .headers = headers, .d = d };
	int rc = find_records(&s);

	if (rc < 0) {
		free(s.records);
		return err_set(err, -E2BIG, ERR_DATA, "records",
			       "more than %d events in one delivery", WEBHOOK_EVENTS_MAX);
	}
	d->v = mem_zalloc(((size_t)s.n + 1) * sizeof(*d->v));
	for (d->n = 0; d->n < s.n; d->n++)
		event_read(&s, d->n, said, &d->v[d->n]);
	free(s.records);
	if (d->n == 1 && reference && *reference && strlen(reference) <= REFERENCE_MAX_BYTES &&
	    utf8_is_valid(reference, strlen(reference)))
		d->v[0].reference = arena_strdup(d->arena, reference);
	return 0;
}

/* ---- its job ---- */

void webhook_hash(const struct webhook_event *e, int64_t integration,
		  char out[INTAKE_HASH_CHARS + 1])
{
	event_hash(e->id, integration, out);
}

enum lane webhook_lane(const struct webhook_event *e)
{
	bool of_credentials = e->declared && (e->declared->act == EVENT_AUTH_REVOKED ||
					      e->declared->act == EVENT_CREDENTIALS_ROTATED);

	return of_credentials ? LANE_HIGH : LANE_NORMAL;
}

bool webhook_is_unheld(const struct webhook_event *e)
{
	return e->declared && e->declared->act == EVENT_CREDENTIALS_ROTATED;
}

static void put_text(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, "\"%s\":", name);
	json_quote(out, value, strlen(value));
	buf_putc(out, ',');
}

/* Under seal what brings credentials, and nothing of it where nobody will believe it. */
static int put_body(const struct webhook_event *e, const struct keyring *k, const char *hash,
		    bool believed, struct buf *out)
{
	int rc;

	if (!e->brings_credentials || !believed) {
		buf_puts(out, "\"body\":");
		if (e->brings_credentials)
			buf_puts(out, "null");
		else
			buf_append(out, e->body, e->body_len);
		return 0;
	}
	buf_puts(out, "\"sealed\":\"");
	rc = body_seal(k, hash, e->body, e->body_len, out);
	buf_putc(out, '"');
	return rc;
}

int webhook_job(const struct webhook_event *e, const struct keyring *k, int64_t integration,
		const char *hash, int64_t received_us, bool believed, struct buf *out)
{
	int rc;

	buf_reserve(out, e->body_len + 512);
	buf_puts(out, "{\"task\":\"" INTAKE_TASK "\",\"integration_id\":");
	buf_putint(out, integration);
	buf_puts(out, ",\"id\":\"wh-");
	buf_puts(out, hash);
	buf_puts(out, "\",\"args\":{");
	put_text(out, "event", e->name);
	put_text(out, "event_id", e->id);
	if (e->external_id)
		put_text(out, "external_id", e->external_id);
	if (e->reference)
		put_text(out, "reference", e->reference);
	buf_puts(out, "\"received_us\":");
	buf_putint(out, received_us);
	if (e->happened_us) {
		buf_puts(out, ",\"happened_us\":");
		buf_putint(out, e->happened_us);
	}
	buf_puts(out, believed ? ",\"believed\":true," : ",\"believed\":false,");
	rc = put_body(e, k, hash, believed, out);
	buf_puts(out, "}}");
	return rc;
}
