#include "drivers/kit/request_body.h"

#include <string.h>

#include "common/base/json.h"
#include "common/io/http.h"

/* One value by the name it has so far.  As deep as a manifest is, which json_parse bounds. */
static void put(struct buf *name, const cJSON *v, struct buf *out)
{
	size_t at = name->len;
	struct buf text = BUF_INIT;

	for (const cJSON *c = v->child; c; c = c->next) {
		if (cJSON_IsArray(v))
			buf_puts(name, "[]");
		else if (at)
			buf_printf(name, "[%s]", c->string);
		else
			buf_puts(name, c->string);
		put(name, c, out);
		name->len = at;
		name->data[at] = '\0';
	}
	if (at && json_scalar_text(v, &text)) {
		if (out->len)
			buf_putc(out, '&');
		http_escape(out, name->data, name->len);
		buf_putc(out, '=');
		http_escape(out, buf_str(&text), text.len);
	}
	buf_clear(&text);
}

const char *request_body(const struct manifest *m, const cJSON *v, struct buf *out)
{
	struct buf name = BUF_INIT;

	if (!m->body_form) {
		json_print(v, out);
		return "application/json";
	}
	put(&name, v, out);
	buf_clear(&name);
	return "application/x-www-form-urlencoded";
}
