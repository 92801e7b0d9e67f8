#include "drivers/kit/body.h"

#include <string.h>

#include "common/io/http.h"

static void put_scalar(const char *name, size_t len, const cJSON *v, struct buf *out)
{
	struct buf text = BUF_INIT;

	if (json_scalar_text(v, &text)) {
		if (out->len)
			buf_putc(out, '&');
		http_escape(out, name, len);
		buf_putc(out, '=');
		http_escape(out, buf_str(&text), text.len);
	}
	buf_clear(&text);
}

/* As deep as JSON is.  `name` is that of v, and is as it was afterwards. */
static void put_value(struct buf *name, const cJSON *v, struct buf *out)
{
	size_t before = name->len;
	const cJSON *c;
	int i = 0;

	if (!cJSON_IsObject(v) && !cJSON_IsArray(v)) {
		put_scalar(buf_str(name), name->len, v, out);
		return;
	}
	cJSON_ArrayForEach (c, v) {
		if (c->string)
			buf_printf(name, before ? "[%s]" : "%s", c->string);
		else if (c->child)
			buf_printf(name, "[%d]", i);
		else
			buf_puts(name, "[]");
		i++;
		put_value(name, c, out);
		name->len = before;
		name->data[before] = '\0';
	}
}

/* ---- XML ---- */

static void put_text(const char *s, struct buf *out)
{
	for (; *s; s++) {
		const char *as = *s == '&'   ? "&amp;"
				 : *s == '<' ? "&lt;"
				 : *s == '>' ? "&gt;"
				 : *s == '"' ? "&quot;"
					     : NULL;

		if (as)
			buf_puts(out, as);
		else if ((unsigned char)*s >= 0x20 || strchr("\t\r\n", *s)) /* XML has no others */
			buf_putc(out, *s);
	}
}

static void put_scalar_text(const cJSON *v, struct buf *out)
{
	struct buf text = BUF_INIT;

	if (json_scalar_text(v, &text))
		put_text(buf_str(&text), out);
	buf_clear(&text);
}

static void put_attributes(const cJSON *v, struct buf *out)
{
	const cJSON *c;

	cJSON_ArrayForEach (c, v) {
		if (c->string[0] != '-' || cJSON_IsNull(c))
			continue;
		buf_printf(out, " %s=\"", c->string + 1);
		put_scalar_text(c, out);
		buf_putc(out, '"');
	}
}

/* As deep as JSON is. */
static void put_element(const char *name, const cJSON *v, struct buf *out)
{
	const cJSON *c;

	if (cJSON_IsArray(v)) {
		cJSON_ArrayForEach (c, v)
			put_element(name, c, out);
		return;
	}
	if (cJSON_IsNull(v))
		return;
	buf_printf(out, "<%s", name);
	if (!cJSON_IsObject(v)) {
		buf_putc(out, '>');
		put_scalar_text(v, out);
	} else {
		put_attributes(v, out);
		buf_putc(out, '>');
		cJSON_ArrayForEach (c, v) {
			if (strcmp(c->string, "#text") == 0)
				put_scalar_text(c, out);
			else if (c->string[0] != '-')
				put_element(c->string, c, out);
		}
	}
	buf_printf(out, "</%s>", name);
}

static const char *write_xml(const cJSON *v, struct buf *out)
{
	const cJSON *c;

	buf_puts(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
	cJSON_ArrayForEach (c, v)
		put_element(c->string ? c->string : "item", c, out);
	return "application/xml";
}

const char *body_write(const struct manifest *m, const cJSON *v, struct buf *out)
{
	struct buf name = BUF_INIT;

	if (m->body == BODY_XML)
		return write_xml(v, out);
	if (m->body == BODY_JSON) {
		json_print(v, out);
		return "application/json";
	}
	put_value(&name, v, out);
	buf_clear(&name);
	return "application/x-www-form-urlencoded";
}
