/* An item, column by column.  Whatever does not fit sets the whole item aside: a row with a hole where the
 * partner sent a value would be believed. */
#include "drivers/kit/map.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "drivers/kit/map_parts.h"
#include "drivers/kit/map_value.h"

#define TEXT_ROOM 512 /* of what is made of an item: most fit, without growing step by step */

static const struct known *known_of(enum row_table t)
{
	static struct known tables[ROW_TABLES];
	struct known *k = &tables[t];

	if (k->found)
		return k;
	*k = (struct known){
		.found = true,
		.at = { row_column_find(t, "starts_at"), row_column_find(t, "ends_at") },
		.on = { row_column_find(t, "starts_on"), row_column_find(t, "ends_on") },
		.capacity = row_column_find(t, "capacity"),
		.lat = row_column_find(t, "lat"),
		.lng = row_column_find(t, "lng"),
		.parent = row_column_find(t, "resource_external_id"),
		.extra = row_column_find(t, "extra"),
		.country = row_column_find(t, "country_code"),
		.currency = row_column_find(t, "currency")
	};
	return k;
}

int set_aside(struct mapping *x, const char *field, const char *fmt, ...)
{
	char text[480];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(x->err, -EINVAL, ERR_DATA, "map", "%s: %s", field, text);
	if (x->err)
		snprintf(x->err->where, sizeof(x->err->where), "%s", field);
	return -EINVAL;
}

/* ---- hashes ---- */

const char *hash_text(struct mapping *x, const struct buf *text)
{
	uint8_t sum[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	crypto_sha256(text->data, text->len, sum);
	crypto_hex(sum, sizeof(sum), hex);
	return arena_strndup(x->m->arena, hex, HASH_HEX);
}

static int add_value(const cJSON *value, const char *key, int index, void *arg)
{
	struct buf *text = arg;

	buf_putc(text, text->len ? ',' : '[');
	json_print(value, text);
	return 0;
}

static void map_hash(struct mapping *x, const struct manifest_column *c, struct row_value *out)
{
	struct buf text = BUF_INIT;

	buf_reserve(&text, TEXT_ROOM);
	json_path_each(x->from.json, c->hash, add_value, &text);
	if (text.len) {
		buf_putc(&text, ']');
		out->set = true;
		out->v.s.p = hash_text(x, &text);
		out->v.s.n = HASH_HEX;
	}
	buf_clear(&text);
}

/* ---- columns ---- */

/* The enum's word for a value; NULL if it has none. */
static const cJSON *enum_word(struct mapping *x, const struct manifest_column *c, const cJSON *v)
{
	const cJSON *word = NULL;
	struct buf text = BUF_INIT;

	if (cJSON_IsString(v) &&
	    (word = cJSON_GetObjectItemCaseSensitive(c->enums, v->valuestring)))
		return word;
	if (json_scalar_text(v, &text))
		word = cJSON_GetObjectItemCaseSensitive(c->enums, buf_str(&text));
	if (!word) {
		word = cJSON_GetObjectItemCaseSensitive(c->enums, "*");
		if (word && x->m->unknown)
			x->m->unknown(c->name, text.len ? text.data : "a list or an object",
				      x->m->unknown_arg);
	}
	buf_clear(&text);
	return word;
}

/* Two letters in capitals are a country; else it is kept in extra as it came. */
static void settle_country(struct mapping *x, struct row_value *out)
{
	const char *s = out->v.s.p;
	char *code;

	if (out->v.s.n == 0)
		return;
	if (out->v.s.n != 2 || !isalpha((unsigned char)s[0]) || !isalpha((unsigned char)s[1])) {
		x->country = arena_strndup(x->m->arena, s, out->v.s.n);
		out->set = false;
		return;
	}
	code = arena_strndup(x->m->arena, s, 2);
	code[0] = (char)toupper((unsigned char)code[0]);
	code[1] = (char)toupper((unsigned char)code[1]);
	out->v.s.p = code;
}

static int settle_currency(struct mapping *x, const char *field, struct row_value *out)
{
	char code[4];

	if (out->v.s.n == 0) {
		out->set = false;
		return 0;
	}
	if (currency_digits(arena_strndup(x->m->arena, out->v.s.p, out->v.s.n), code) < 0)
		return set_aside(x, field, "the currency \"%.*s\" is not known", (int)out->v.s.n,
				 out->v.s.p);
	out->v.s.p = arena_strdup(x->m->arena, code);
	return 0;
}

static int convert(struct mapping *x, const struct manifest_column *c, const cJSON *v,
		   struct row_value *out)
{
	const char *why = "", *currency = c->currency ? item_text(&x->from, c->currency) : NULL;
	int rc = map_value(c, v, currency, x->m->arena, out, &why);

	if (rc < 0)
		return set_aside(x, c->name, "%s", why);
	if (!out->set)
		return 0;
	if (c->column == x->known->country)
		settle_country(x, out);
	else if (c->column == x->known->currency)
		return settle_currency(x, c->name, out);
	return 0;
}

static int map_path(struct mapping *x, const struct manifest_column *c, struct row_value *out)
{
	const cJSON *v = item_find(&x->from, c->path), *word;
	const char *what = !v ? "missing" : cJSON_IsNull(v) ? "null" : "\"\"";
	int rc;

	if (json_is_nothing(v) && c->fallback)
		return convert(x, c, c->fallback, out);
	if (json_is_nothing(v) || (c->required && json_is_empty_text(v)))
		return c->required ? set_aside(x, c->name, "required, but %s", what) : 0;
	if (c->enums && !json_is_empty_text(v)) {
		word = enum_word(x, c, v);
		if (!word)
			return set_aside(x, c->name,
					 "not one of the values that the manifest knows%s%.60s%s",
					 cJSON_IsString(v) ? ": \"" : "",
					 cJSON_IsString(v) ? v->valuestring : "",
					 cJSON_IsString(v) ? "\"" : "");
		v = word;
	}
	rc = convert(x, c, v, out);
	if (rc == 0 && !out->set && c->fallback)
		rc = convert(x, c, c->fallback, out);
	if (rc == 0 && !out->set && c->required && !x->country)
		return set_aside(x, c->name, "required, but \"\"");
	return rc;
}

static int map_columns(struct mapping *x)
{
	const struct manifest_collection *c = x->m->collection;
	int rc = 0;

	for (int i = 0; i < c->n_map && rc == 0; i++) {
		const struct manifest_column *k = &c->map[i];
		struct row_value *out = &x->row.values[k->column];

		if (k->hash)
			map_hash(x, k, out);
		else if (k->constant)
			rc = convert(x, k, k->constant, out);
		else
			rc = map_path(x, k, out);
	}
	return rc;
}

/* ---- extra ---- */

static void put_member(struct buf *out, const char *key, const cJSON *v)
{
	buf_putc(out, out->len ? ',' : '{');
	json_quote(out, key, strlen(key));
	buf_putc(out, ':');
	json_print(v, out);
}

static void put_text(struct buf *out, const char *key, const char *s)
{
	cJSON v = { .type = cJSON_String, .valuestring = (char *)s };

	put_member(out, key, &v);
}

static void put_whole(struct mapping *x, struct buf *out)
{
	if (!cJSON_IsObject(x->from.json)) {
		put_member(out, "@", x->from.json);
		return;
	}
	for (const cJSON *v = x->from.json->child; v; v = v->next)
		put_member(out, v->string, v);
}

static void map_extra(struct mapping *x)
{
	const struct manifest_collection *c = x->m->collection;
	int column = x->known->extra;
	struct buf text = BUF_INIT;
	bool whole = false;

	if (c->n_extra)
		buf_reserve(&text, TEXT_ROOM);
	for (int i = 0; i < c->n_extra; i++)
		whole |= strcmp(c->extra[i], "*") == 0;
	if (whole)
		put_whole(x, &text);
	for (int i = 0; i < c->n_extra && !whole; i++) {
		const cJSON *v = item_member(&x->from, c->extra[i]);

		if (v)
			put_member(&text, c->extra[i], v);
	}
	if (x->country && !(whole && item_member(&x->from, "country_code")))
		put_text(&text, "country_code", x->country);
	if (text.len) {
		buf_putc(&text, '}');
		x->row.values[column] = (struct row_value){
			.set = true,
			.v.s = { arena_strndup(x->m->arena, text.data, text.len), text.len }
		};
	}
	buf_clear(&text);
}

/* ---- what makes no sense ---- */

static const struct row_value *value_of(const struct mapping *x, int column)
{
	return column >= 0 && x->row.values[column].set ? &x->row.values[column] : NULL;
}

static int check_order(struct mapping *x, const int columns[2], const char *from, const char *to)
{
	const struct row_value *a = value_of(x, columns[0]), *b = value_of(x, columns[1]);

	return a && b && b->v.i < a->v.i ? set_aside(x, to, "before %s", from) : 0;
}

static int check_range(struct mapping *x, int column, const char *name, double most)
{
	const struct row_value *v = value_of(x, column);

	return v && !(v->v.d >= -most && v->v.d <= most)
		       ? set_aside(x, name, "%g is not within -%g and %g", v->v.d, most, most)
		       : 0;
}

static int check_domain(struct mapping *x)
{
	const struct known *k = x->known;
	const struct row_value *capacity = value_of(x, k->capacity);
	int rc = check_order(x, k->at, "starts_at", "ends_at");

	if (rc == 0)
		rc = check_order(x, k->on, "starts_on", "ends_on");
	if (rc == 0 && capacity && capacity->v.i < 0)
		rc = set_aside(x, "capacity", "negative");
	if (rc == 0)
		rc = check_range(x, k->lat, "lat", 90);
	if (rc == 0)
		rc = check_range(x, k->lng, "lng", 180);
	return rc;
}

/* What the driver's C makes of the item.  Its own words for why it is set aside, or ours. */
static int adapt(struct mapping *x)
{
	const struct driver_hooks *h = x->m->hooks;
	struct err why = { 0 };
	const cJSON *out = x->from.json;

	if (!h || !h->adapt_item)
		return 0;
	if (h->adapt_item(x->m->collection, out, x->m->arena, &out, &why) < 0)
		return set_aside(x, why.where[0] ? why.where : "item", "%s",
				 why.text[0] ? why.text : "adapt_item refused it");
	if (out)
		x->from.json = out;
	return 0;
}

/* ---- deleted, by its own word ---- */

static bool is_value(const cJSON *v, const cJSON *want)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	bool same;

	if (!v || cJSON_IsNull(v) || cJSON_IsNull(want))
		return v && cJSON_IsNull(v) && cJSON_IsNull(want);
	same = json_scalar_text(v, &a) && json_scalar_text(want, &b) &&
	       strcmp(buf_str(&a), buf_str(&b)) == 0;
	/* partners write true as 1 too */
	if (!same && cJSON_IsBool(want) && cJSON_IsNumber(v))
		same = v->valuedouble == (cJSON_IsTrue(want) ? 1 : 0);
	buf_clear(&a);
	buf_clear(&b);
	return same;
}

static bool is_tombstone(const struct mapping *x)
{
	const struct manifest_deletes *d = &x->m->collection->deletes;

	return d->tombstone && is_value(item_find(&x->from, d->tombstone), d->value);
}

static struct mapping mapping_of(const struct map_context *m, const cJSON *item, struct err *err)
{
	return (struct mapping){ .m = m,
				 .known = known_of(m->collection->table),
				 .from = { item, m->index, m->arena, NULL },
				 .err = err,
				 .row = { .integration_id = m->integration_id,
					  .observed_us = m->observed_us } };
}

static bool is_item(const cJSON *item)
{
	return cJSON_IsObject(item) || cJSON_IsString(item) || cJSON_IsNumber(item);
}

const char *map_key(const struct map_context *m, const cJSON *item)
{
	struct mapping x = mapping_of(m, item, NULL);

	(void)adapt(&x); /* one that it refused is looked at as it came */
	return is_item(x.from.json) && map_id(&x) == 0 ? x.row.external_id : NULL;
}

int map_merged(const struct map_context *m, const cJSON *item, const char ***ids)
{
	struct mapping x = mapping_of(m, item, NULL);
	int n;

	if (!m->collection->merged_into || adapt(&x) < 0 || !is_item(x.from.json) || map_id(&x) < 0)
		return 0;
	n = map_heirs(&x, ids);
	return n < 0 ? 0 : n;
}

int map_item(const struct map_context *m, const cJSON *item, struct row *out, struct err *err)
{
	struct mapping x = mapping_of(m, item, err);
	struct item_members members;
	const char **heirs;
	int rc = adapt(&x);

	if (rc < 0)
		return rc;
	if (!is_item(x.from.json))
		return set_aside(&x, "item", "expected an object");
	item_members_init(&members, x.from.json);
	x.from.members = &members;
	rc = map_id(&x);
	if (rc == 0)
		rc = map_updated(&x);
	if (rc == 0)
		rc = map_heirs(&x, &heirs);
	x.row.gone = rc > 0 || (rc == 0 && is_tombstone(&x));
	if (x.row.gone) {
		*out = x.row;
		return 0;
	}
	if (rc == 0)
		rc = map_columns(&x);
	if (rc == 0)
		rc = check_domain(&x);
	if (rc < 0)
		return rc;
	map_parent(&x);
	map_extra(&x);
	*out = x.row;
	return 0;
}
