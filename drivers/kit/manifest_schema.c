/* The format as JSON Schema (draft 2020-12), for editors: made from the same tables that manifests are read by.  It says less
 * than the reader, which alone knows what takes two places of a manifest. */
#include <string.h>

#include "drivers/kit/manifest_read.h"

static void put_type(const char *type, struct buf *out)
{
	buf_printf(out, "{\"type\":\"%s\"}", type);
}

static void put_range(const struct manifest_key *k, struct buf *out)
{
	buf_puts(out, "{\"type\":\"integer\"");
	if (k->min || k->max)
		buf_printf(out, ",\"minimum\":%lld,\"maximum\":%lld", (long long)k->min,
			   (long long)k->max);
	else
		buf_puts(out, ",\"minimum\":0");
	buf_putc(out, '}');
}

/* A word with a colon at its end is a prefix. */
static void put_words(const struct key_word *words, struct buf *out)
{
	int n = 0;

	buf_puts(out, "{\"anyOf\":[{\"enum\":[");
	for (const struct key_word *w = words; w->name; w++) {
		if (strchr(w->name, ':'))
			continue;
		buf_puts(out, n++ ? "," : "");
		json_quote(out, w->name, strlen(w->name));
	}
	buf_puts(out, "]}");
	for (const struct key_word *w = words; w->name; w++)
		if (strchr(w->name, ':'))
			buf_printf(out, ",{\"type\":\"string\",\"pattern\":\"^%s\"}", w->name);
	buf_puts(out, "]}");
}

static void put_object(const struct key_table *t, struct buf *out);

static void put_named(const struct key_table *t, struct buf *out)
{
	buf_puts(out,
		 "{\"type\":\"object\",\"properties\":{\"//\":true},\"additionalProperties\":");
	put_object(t, out);
	buf_putc(out, '}');
}

static void put_list(const struct key_table *t, struct buf *out)
{
	buf_puts(out, "{\"type\":\"array\",\"items\":");
	put_object(t, out);
	buf_putc(out, '}');
}

static void put_text(const struct manifest_key *k, struct buf *out)
{
	buf_puts(out, k->flags & KEY_EMPTY ? "{\"type\":\"string\"}"
					   : "{\"type\":\"string\",\"minLength\":1}");
}

static void put_value(const struct manifest_key *k, struct buf *out)
{
	switch (k->type) {
	case KEY_TEXT:
	case KEY_HEADER:
	case KEY_PATH:
		put_text(k, out);
		return;
	case KEY_BOOL:
		put_type("boolean", out);
		return;
	case KEY_INT:
	case KEY_INT64:
		put_range(k, out);
		return;
	case KEY_SHARE:
		buf_puts(out, "{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":1}");
		return;
	case KEY_DURATION:
		buf_puts(out, "{\"anyOf\":[{\"type\":\"number\",\"minimum\":0},"
			      "{\"type\":\"string\",\"pattern\":\"^[0-9]+(ms|s|m|h|d)?$\"}]}");
		return;
	case KEY_WORD:
	case KEY_WORD_BOOL:
	case KEY_FIXED:
		put_words(k->words, out);
		return;
	case KEY_FORMAT:
		buf_puts(out, "{\"const\":1}");
		return;
	case KEY_TEXTS:
	case KEY_HEADERS:
		buf_puts(out,
			 "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":1}}");
		return;
	case KEY_PAIRS:
		buf_puts(out, "{\"type\":\"object\",\"additionalProperties\":"
			      "{\"type\":[\"string\",\"number\",\"boolean\"]}}");
		return;
	case KEY_JSON_LIST:
		buf_puts(out, "{\"type\":\"array\",\"minItems\":1}");
		return;
	case KEY_JSON_TEXTS:
		buf_puts(out, "{\"type\":\"object\",\"minProperties\":1,\"additionalProperties\":"
			      "{\"type\":\"string\"}}");
		return;
	case KEY_JSON_OBJECT:
		put_type("object", out);
		return;
	case KEY_OBJECT:
		put_object(k->of, out);
		return;
	case KEY_LIST:
		put_list(k->of, out);
		return;
	case KEY_NAMED:
		put_named(k->of, out);
		return;
	case KEY_OWN:
		buf_puts(out, k->schema ? k->schema : "true");
		return;
	case KEY_JSON:
		buf_puts(out, "true");
	}
}

/* A schema, and the default beside it. */
static void put_key(const struct manifest_key *k, struct buf *out)
{
	size_t end;

	put_value(k, out);
	end = out->len;
	if (!k->fallback || out->data[end - 1] != '}')
		return;
	out->len--;
	buf_printf(out, "%s\"default\":%s}", out->data[out->len - 1] == '{' ? "" : ",",
		   k->fallback);
}

static void put_required(const struct key_table *t, struct buf *out)
{
	int n = 0;

	for (int i = 0; i < t->n; i++)
		if (t->keys[i].flags & KEY_REQUIRED)
			buf_printf(out, "%s\"%s\"", n++ ? "," : ",\"required\":[", t->keys[i].name);
	if (n)
		buf_putc(out, ']');
}

static void put_members(const struct key_table *t, struct buf *out)
{
	buf_puts(out, "{\"type\":\"object\",\"properties\":{\"//\":true");
	if (t == &manifest_table) /* where an editor finds this */
		buf_puts(out, ",\"$schema\":true");
	for (int i = 0; i < t->n; i++) {
		buf_printf(out, ",\"%s\":", t->keys[i].name);
		put_key(&t->keys[i], out);
	}
	buf_puts(out, "},\"additionalProperties\":false");
	put_required(t, out);
	buf_putc(out, '}');
}

static void put_object(const struct key_table *t, struct buf *out)
{
	if (!t->shorthand) {
		put_members(t, out);
		return;
	}
	buf_puts(out, "{\"anyOf\":[{\"type\":\"string\",\"minLength\":1},");
	put_members(t, out);
	buf_puts(out, "]}");
}

void manifest_schema(struct buf *out)
{
	struct buf members = BUF_INIT;

	put_members(&manifest_table, &members);
	buf_puts(out, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\","
		      "\"title\":\"A partner of Longshore, format 1\",");
	buf_append(out, members.data + 1, members.len - 1); /* but its brace */
	buf_clear(&members);
}
