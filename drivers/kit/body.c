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

const char *body_write(const struct manifest *m, const cJSON *v, struct buf *out)
{
	struct buf name = BUF_INIT;

	if (!m->body_form) {
		json_print(v, out);
		return "application/json";
	}
	put_value(&name, v, out);
	buf_clear(&name);
	return "application/x-www-form-urlencoded";
}
