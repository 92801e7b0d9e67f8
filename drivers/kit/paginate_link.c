/* Addresses that an answer brings: the Link header (RFC 8288), and what a reference means (RFC 3986) where it
 * was found.  Pure. */
#include "drivers/kit/paginate_link.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#define URL_MAX_BYTES 8192
#define BLANKS " \t\r\n"

/* ---- Link ---- */

/* One parameter at p, behind its semicolon: its name and value.  Returns what follows. */
struct param {
	const char *name, *value;
	size_t name_len, value_len;
};

static const char *read_quoted(const char *p, struct param *out)
{
	const char *start = ++p;

	while (*p && *p != '"')
		p += *p == '\\' && p[1] ? 2 : 1;
	out->value = start;
	out->value_len = (size_t)(p - start);
	return *p ? p + 1 : p;
}

static const char *read_param(const char *p, struct param *out)
{
	*out = (struct param){ 0 };
	p += strspn(p, BLANKS);
	out->name = p;
	p += out->name_len = strcspn(p, "=;," BLANKS);
	p += strspn(p, BLANKS);
	if (*p != '=')
		return p;
	p++;
	p += strspn(p, BLANKS);
	if (*p == '"')
		return read_quoted(p, out);
	out->value = p;
	out->value_len = strcspn(p, ";," BLANKS);
	return p + out->value_len;
}

static bool is_named(const struct param *p, const char *name)
{
	return p->name_len == strlen(name) && strncasecmp(p->name, name, p->name_len) == 0;
}

/* rel="first next" names two. */
static bool has_word(const struct param *p, const char *word)
{
	const char *s = p->value, *end = s ? s + p->value_len : NULL;

	while (s && s < end) {
		size_t n = 0;

		while (s + n < end && !strchr(BLANKS, s[n]))
			n++;
		if (n == strlen(word) && strncasecmp(s, word, n) == 0)
			return true;
		s += n + 1;
	}
	return false;
}

/* Parameters up to the comma: only the first rel counts, and a link of another resource (anchor) is none of ours. */
static const char *read_params(const char *p, bool *is_next)
{
	bool seen_rel = false, anchored = false;
	struct param param;

	*is_next = false;
	for (;;) {
		p += strspn(p, BLANKS);
		if (*p != ';')
			break;
		p = read_param(p + 1, &param);
		anchored |= is_named(&param, "anchor");
		if (is_named(&param, "rel") && !seen_rel) {
			seen_rel = true;
			*is_next = has_word(&param, "next");
		}
	}
	*is_next &= !anchored;
	return p + strcspn(p, ",");
}

bool link_next(const char *header, struct buf *out)
{
	for (const char *p = header; *p;) {
		const char *url, *end;
		bool is_next;

		p += strspn(p, BLANKS ",");
		if (*p != '<') {
			p += strcspn(p, ",");
			continue;
		}
		url = p + 1;
		end = strchr(url, '>');
		if (!end)
			return false;
		p = read_params(end + 1, &is_next);
		if (!is_next)
			continue;
		buf_append(out, url, (size_t)(end - url));
		return true;
	}
	return false;
}

/* ---- references ---- */

static size_t scheme_len(const char *s)
{
	return strncasecmp(s, "https://", 8) == 0 ? 8 : strncasecmp(s, "http://", 7) == 0 ? 7 : 0;
}

size_t url_origin_len(const char *url)
{
	size_t n = scheme_len(url);

	return n ? n + strcspn(url + n, "/?#") : 0;
}

/* "mailto:", "ftp://x": a letter, and a colon before any slash. */
static bool has_scheme(const char *s)
{
	size_t n = strcspn(s, ":/?#");

	return n > 0 && s[n] == ':';
}

/* What is wrong is mended: partners leave blanks, quotes and braces as they are.  A host is not ours to mend. */
static int append_clean(struct buf *out, const char *s, size_t n)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < ' ' || c == 0x7f)
			return -EBADMSG;
		if (c > 0x7f || strchr(" \"<>\\^`{|}", c)) {
			char code[3] = { '%', hex[c >> 4], hex[c & 15] };

			buf_append(out, code, sizeof(code));
		} else {
			buf_putc(out, (char)c);
		}
	}
	return 0;
}

static bool host_is_plain(const char *url)
{
	size_t from = scheme_len(url), n = url_origin_len(url);

	if (n == from)
		return false;
	for (size_t i = from; i < n; i++)
		if (!isascii((unsigned char)url[i]) ||
		    (!isalnum((unsigned char)url[i]) && !strchr(".-_:[]", url[i])))
			return false;
	return true;
}

/* The whole of base that a relative reference goes on from. */
static size_t kept_of_base(const char *base, const char *ref)
{
	size_t origin = url_origin_len(base), path = strcspn(base, "?#");

	if (ref[0] == '/' && ref[1] == '/')
		return scheme_len(base) - 2; /* "https:" */
	if (ref[0] == '/')
		return origin;
	if (ref[0] == '?' || !*ref)
		return path;
	while (path > origin && base[path - 1] != '/')
		path--;
	return path;
}

static int refuse(struct err *err, const char *ref, const char *why)
{
	return err_set(err, -EBADMSG, ERR_DATA, "next page",
		       "the address of the next page, \"%.80s\", %s", ref, why);
}

/* Leaves out "/./" and "/../", which would climb out of what the check of a prefix saw. */
static bool climbs(const char *url)
{
	const char *p = url + url_origin_len(url), *end = p + strcspn(p, "?#");

	for (; p < end; p++)
		if (p[0] == '/' && p[1] == '.' &&
		    (strchr("/?#", p[2]) || (p[2] == '.' && strchr("/?#", p[3]))))
			return true;
	return false;
}

/* RFC 3986 section 5.2.4, in place: "/./" is nothing, "/../" takes the segment before it along, as far as there is one. */
static void take_dots(struct buf *url)
{
	char *root = url->data + url_origin_len(url->data), *to = root;
	char *end = root + strcspn(root, "?#");
	const char *p = root;

	while (p < end) { /* *p is a slash */
		size_t n = 1 + strcspn(p + 1, "/?#");
		bool here = n == 2 && p[1] == '.', up = n == 3 && p[1] == '.' && p[2] == '.';

		while (up && to > root && *--to != '/')
			;
		if (here || up) {
			p += n;
			if (p == end)
				*to++ = '/';
			continue;
		}
		memmove(to, p, n);
		to += n;
		p += n;
	}
	memmove(to, end, strlen(end) + 1);
	url->len -= (size_t)(end - to);
}

static int resolve(const char *base, const char *ref, bool dots, struct buf *out, struct err *err)
{
	struct buf url = BUF_INIT;
	size_t kept, len;
	int rc = 0;

	ref += strspn(ref, BLANKS);
	len = strcspn(ref, "#");
	while (len > 0 && strchr(BLANKS, ref[len - 1]))
		len--;
	if (len == 0)
		return refuse(err, ref, "is empty");
	if (len > URL_MAX_BYTES)
		return refuse(err, ref, "is too long");
	if (!scheme_len(ref) && has_scheme(ref) && strcspn(ref, ":") < len)
		return refuse(err, ref, "is none of http or https");
	kept = scheme_len(ref) ? 0 : kept_of_base(base, ref);
	buf_append(&url, base, kept);
	if (kept && kept == url_origin_len(base) && ref[0] != '/')
		buf_putc(&url, '/');
	rc = append_clean(&url, ref, len);
	if (dots && rc == 0)
		take_dots(&url);
	if (rc < 0)
		rc = refuse(err, ref, "has a control character in it");
	else if (!host_is_plain(buf_str(&url)))
		rc = refuse(err, ref, "has no plain host");
	else if (climbs(buf_str(&url)))
		rc = refuse(err, ref, "climbs out of its path");
	else
		buf_append(out, url.data, url.len);
	buf_clear(&url);
	return rc;
}

int url_resolve(const char *base, const char *ref, struct buf *out, struct err *err)
{
	return resolve(base, ref, false, out, err);
}

int url_follow(const char *base, const char *ref, struct buf *out, struct err *err)
{
	return resolve(base, ref, true, out, err);
}

void url_drop_param(struct buf *url, const char *name)
{
	size_t n = strlen(name), mark = strcspn(buf_str(url), "?");
	struct buf kept = BUF_INIT;
	const char *p;
	char by = '?';

	if (mark >= url->len)
		return;
	buf_append(&kept, url->data, mark);
	for (p = url->data + mark + 1; p && *p;) {
		size_t len = strcspn(p, "&");

		if (len && !(strncmp(p, name, n) == 0 && (len == n || p[n] == '='))) {
			buf_putc(&kept, by);
			buf_append(&kept, p, len);
			by = '&';
		}
		p += len + (p[len] == '&');
	}
	buf_clear(url);
	*url = kept;
}
