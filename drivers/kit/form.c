#include "drivers/kit/form.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/mem.h"

static int digit(char c)
{
	return c >= '0' && c <= '9'                 ? c - '0'
	       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
						    : -1;
}

/* Decodes up to end to *out, which moves on. */
static int decode(const char *p, const char *end, char **out)
{
	for (; p < end; p++) {
		if (*p != '%') {
			*(*out)++ = *p == '+' ? ' ' : *p;
			continue;
		}
		if (end - p < 3 || digit(p[1]) < 0 || digit(p[2]) < 0)
			return -EINVAL;
		*(*out)++ = (char)(digit(p[1]) * 16 + digit(p[2]));
		p += 2;
	}
	return 0;
}

static int field_read(struct form_field *f, const char *p, const char *end, char **at)
{
	const char *equals = memchr(p, '=', (size_t)(end - p));
	int rc;

	f->name = *at;
	rc = decode(p, equals ? equals : end, at);
	f->name_len = (size_t)(*at - f->name);
	f->value = *at;
	if (rc == 0 && equals)
		rc = decode(equals + 1, end, at);
	f->value_len = (size_t)(*at - f->value);
	return rc;
}

int form_read(struct form *out, const char *body, size_t len)
{
	const char *p = body, *end = body + len;
	struct form f = { .v = mem_alloc(FORM_FIELDS_MAX * sizeof(*f.v)),
			  .bytes = mem_alloc(len + 1) };
	char *at = f.bytes;
	int rc = 0;

	while (p < end && rc == 0) {
		const char *amp = memchr(p, '&', (size_t)(end - p)), *stop = amp ? amp : end;

		if (stop > p && f.n == FORM_FIELDS_MAX)
			rc = -E2BIG;
		else if (stop > p)
			rc = field_read(&f.v[f.n++], p, stop, &at);
		p = stop + 1;
	}
	if (rc < 0)
		form_clear(&f);
	else
		*out = f;
	return rc;
}

void form_clear(struct form *f)
{
	free(f->v);
	free(f->bytes);
	*f = (struct form){ 0 };
}

static int compare(const char *a, size_t alen, const char *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return c ? c : (alen > blen) - (alen < blen);
}

static int by_name(const void *a, const void *b)
{
	const struct form_field *x = *(const struct form_field *const *)a,
				*y = *(const struct form_field *const *)b;
	int c = compare(x->name, x->name_len, y->name, y->name_len);

	return c ? c : compare(x->value, x->value_len, y->value, y->value_len);
}

void form_sorted(const struct form *f, struct buf *out)
{
	const struct form_field **v = mem_alloc(((size_t)f->n + 1) * sizeof(*v));

	for (int i = 0; i < f->n; i++)
		v[i] = &f->v[i];
	qsort(v, (size_t)f->n, sizeof(*v), by_name);
	for (int i = 0; i < f->n; i++) {
		if (i > 0 && by_name(&v[i - 1], &v[i]) == 0)
			continue;
		buf_append(out, v[i]->name, v[i]->name_len);
		buf_append(out, v[i]->value, v[i]->value_len);
	}
	free(v);
}

/* ---- JSON ---- */

static void quote(struct buf *out, const char *s, size_t len)
{
	struct buf clean = BUF_INIT;

	utf8_append_clean(&clean, s, len);
	json_quote(out, buf_str(&clean), clean.len);
	buf_clear(&clean);
}

static bool same_name(const struct form_field *a, const struct form_field *b)
{
	return a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0;
}

static bool earlier(const struct form *f, int i)
{
	for (int k = 0; k < i; k++)
		if (same_name(&f->v[k], &f->v[i]))
			return true;
	return false;
}

/* At most FORM_FIELDS_MAX fields, so that comparing each with each is no matter. */
void form_json(const struct form *f, struct buf *out)
{
	bool first = true;

	buf_putc(out, '{');
	for (int i = 0; i < f->n; i++) {
		size_t open;
		int same = 1;

		if (earlier(f, i))
			continue;
		if (!first)
			buf_putc(out, ',');
		first = false;
		quote(out, f->v[i].name, f->v[i].name_len);
		buf_putc(out, ':');
		open = out->len;
		buf_putc(out, ' '); /* or a bracket, once there is another */
		quote(out, f->v[i].value, f->v[i].value_len);
		for (int k = i + 1; k < f->n; k++) {
			if (!same_name(&f->v[k], &f->v[i]))
				continue;
			buf_putc(out, ',');
			quote(out, f->v[k].value, f->v[k].value_len);
			same++;
		}
		if (same > 1) {
			out->data[open] = '[';
			buf_putc(out, ']');
		}
	}
	buf_putc(out, '}');
}
