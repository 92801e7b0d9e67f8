/* CSV as RFC 4180 has it, with what is sent in its name: lines that end in LF or CRLF, other separators. */
#include <errno.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/json.h"
#include "drivers/kit/decode.h"

#define COLUMNS_MAX 1000

struct csv {
	const char *p, *end;
	char separator;
	int line;
	struct buf field;
	bool quoted; /* the field was: an empty one is "" then, else null */
	bool open;   /* a quote that did not end */
};

struct names {
	const char *v[COLUMNS_MAX];
	int n;
};

static char find_separator(const char *p, const char *end)
{
	bool quoted = false;

	for (; p < end && (quoted || *p != '\n'); p++) {
		if (*p == '"')
			quoted = !quoted;
		else if (!quoted && (*p == ',' || *p == ';' || *p == '\t'))
			return *p;
	}
	return ',';
}

static void read_quoted(struct csv *c)
{
	c->quoted = true;
	c->open = true;
	for (c->p++; c->p < c->end; c->p++) {
		if (*c->p == '\n')
			c->line++;
		if (*c->p != '"') {
			buf_putc(&c->field, *c->p);
		} else if (c->p + 1 < c->end && c->p[1] == '"') {
			buf_putc(&c->field, *c->p++);
		} else {
			c->open = false;
			c->p++;
			return;
		}
	}
}

/* The next field; true: another one follows on this line. */
static bool read_field(struct csv *c)
{
	const char *start;

	buf_reset(&c->field);
	c->quoted = false;
	if (c->p < c->end && *c->p == '"')
		read_quoted(c);
	start = c->p;
	while (c->p < c->end && *c->p != c->separator && *c->p != '\n')
		c->p++;
	buf_append(&c->field, start, (size_t)(c->p - start));
	if (c->field.len && c->p > start && c->field.data[c->field.len - 1] == '\r' &&
	    (c->p == c->end || *c->p == '\n'))
		c->field.data[--c->field.len] = '\0';
	if (c->p < c->end && *c->p == c->separator) {
		c->p++;
		return true;
	}
	c->line++;
	c->p += c->p < c->end;
	return false;
}

static int wrong(struct csv *c, struct err *err, int line, const char *what)
{
	return err_set(err, -EINVAL, ERR_DATA, "csv", "the answer is no CSV: line %d: %s", line,
		       what);
}

static int read_names(struct csv *c, struct arena *a, struct names *out, struct err *err)
{
	bool more = true;

	while (more) {
		more = read_field(c);
		if (c->open)
			return wrong(c, err, 1, "a quote does not end");
		if (out->n == COLUMNS_MAX)
			return wrong(c, err, 1, "more than 1000 columns");
		for (int i = 0; i < out->n; i++)
			if (strcmp(out->v[i], buf_str(&c->field)) == 0)
				return wrong(c, err, 1, "two columns have one name");
		out->v[out->n++] = arena_strdup(a, buf_str(&c->field));
	}
	return 0;
}

static void put_value(struct csv *c, const char *name, struct buf *out)
{
	json_quote(out, name, strlen(name));
	buf_putc(out, ':');
	if (c->field.len || c->quoted)
		json_quote(out, buf_str(&c->field), c->field.len);
	else
		buf_puts(out, "null");
}

/* 1: a line without anything on it is no record. */
static int read_record(struct csv *c, const struct names *names, struct buf *out, struct err *err)
{
	size_t before = out->len;
	int line = c->line, i = 0;
	bool more = true;

	buf_puts(out, before > 1 ? ",{" : "{");
	for (; more; i++) {
		more = read_field(c);
		if (c->open)
			return wrong(c, err, line, "a quote does not end");
		if (!more && i == 0 && !c->field.len && !c->quoted) {
			out->len = before;
			out->data[before] = '\0';
			return 0;
		}
		if (i == names->n)
			return wrong(c, err, line, "more fields than columns");
		if (i)
			buf_putc(out, ',');
		put_value(c, names->v[i], out);
	}
	if (i < names->n)
		return wrong(c, err, line, "fewer fields than columns");
	buf_putc(out, '}');
	return 0;
}

int decode_csv(const char *body, size_t len, size_t max_bytes, struct buf *out, struct err *err)
{
	struct csv c = { .p = body, .end = body + len, .line = 1, .field = BUF_INIT };
	struct arena *a = arena_new();
	struct names *names = arena_new_of(a, struct names);
	struct buf json = BUF_INIT;
	int rc;

	c.separator = find_separator(c.p, c.end);
	buf_putc(&json, '[');
	rc = read_names(&c, a, names, err);
	while (rc == 0 && c.p < c.end) {
		rc = read_record(&c, names, &json, err);
		if (rc == 0 && json.len > max_bytes)
			rc = -ENOMEM;
	}
	if (rc == 0) {
		buf_putc(&json, ']');
		buf_append(out, json.data, json.len);
	}
	buf_clear(&json);
	buf_clear(&c.field);
	arena_free(a);
	return rc;
}
