#include "drivers/kit/decode.h"

#include <errno.h>
#include <string.h>

#include "common/base/json.h"

#define BOM "\xef\xbb\xbf"

const char *decode_accepts(enum body_format f)
{
	switch (f) {
	case FORMAT_XML:
		return "application/xml, text/xml";
	case FORMAT_CSV:
		return "text/csv";
	case FORMAT_JSONL:
		return "application/x-ndjson, application/jsonl, application/json";
	case FORMAT_TEXT:
		return "text/plain";
	case FORMAT_JSON:
		break;
	}
	return "application/json";
}

/* ---- jsonl ---- */

/* One value to its end: nothing open, and no comma that would make two of it. */
static const char *line_problem(const char *p, size_t n)
{
	int depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < n; i++) {
		char c = p[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '{' || c == '['))
			depth++;
		else if (!quoted && (c == '}' || c == ']') && --depth < 0)
			return "it closes what it did not open";
		else if (!quoted && c == ',' && depth == 0)
			return "there is more than one value on it";
	}
	return depth || quoted ? "the value on it does not end there" : NULL;
}

static bool is_blank(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strchr(" \t\r", p[i]))
			return false;
	return true;
}

int decode_jsonl(const char *body, size_t len, size_t max_bytes, struct buf *out, struct err *err)
{
	const char *end = body + len;
	int line = 0, n = 0;

	buf_putc(out, '[');
	while (body < end) {
		const char *eol = memchr(body, '\n', (size_t)(end - body));
		size_t size = (size_t)((eol ? eol : end) - body);
		const char *wrong = line_problem(body, size);

		line++;
		if (wrong)
			return err_set(err, -EINVAL, ERR_DATA, "jsonl",
				       "the answer is no JSON a line: line %d: %s", line, wrong);
		if (!is_blank(body, size)) {
			if (n++)
				buf_putc(out, ',');
			buf_append(out, body, size);
		}
		if (out->len > max_bytes)
			return -ENOMEM;
		body += size + (eol != NULL);
	}
	buf_putc(out, ']');
	return 0;
}

/* ---- all of them ---- */

static int decode_text(const char *body, size_t len, size_t max_bytes, struct buf *out,
		       struct err *err)
{
	json_quote(out, body, len);
	return out->len > max_bytes ? -ENOMEM : 0;
}

int decode_answer(const struct manifest *m, const char *body, size_t len, size_t max_bytes,
		  struct buf *out, struct err *err)
{
	if (m->format == FORMAT_XML)
		return decode_xml(m->xml_lists, m->n_xml_lists, body, len, max_bytes, out, err);
	if (!utf8_is_valid(body, len))
		return err_set(err, -EINVAL, ERR_DATA, "charset",
			       "the answer is not UTF-8 from byte %zu on",
			       utf8_valid_prefix(body, len));
	if (len >= 3 && memcmp(body, BOM, 3) == 0) {
		body += 3;
		len -= 3;
	}
	switch (m->format) {
	case FORMAT_JSONL:
		return decode_jsonl(body, len, max_bytes, out, err);
	case FORMAT_CSV:
		return decode_csv(body, len, max_bytes, out, err);
	case FORMAT_TEXT:
		return decode_text(body, len, max_bytes, out, err);
	default:
		buf_append(out, body, len);
		return 0;
	}
}
