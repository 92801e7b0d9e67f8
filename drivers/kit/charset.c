#include "drivers/kit/charset.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "common/base/json.h"
#include "common/base/mem.h"

/* What Windows has where Latin-1 has control characters that nobody sends; 0: nothing. */
static const uint16_t windows[32] = { 0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020,
				      0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0,
				      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d,
				      0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a,
				      0x0153, 0,      0x017e, 0x0178 };

static bool is_latin(const char *content_type)
{
	static const char *const names[] = { "iso-8859-1",   "iso8859-1",  "iso_8859-1",
					     "latin1",       "latin-1",    "cp1252",
					     "windows-1252", "iso-8859-15" };
	const char *p = content_type ? strcasestr(content_type, "charset=") : NULL;
	size_t n;

	if (!p)
		return false;
	p += strlen("charset=");
	p += strspn(p, " \"'");
	n = strcspn(p, " \"';,");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strlen(names[i]) == n && strncasecmp(p, names[i], n) == 0)
			return true;
	return false;
}

static void put(struct buf *out, unsigned c)
{
	if (c < 0x800) {
		buf_putc(out, (char)(0xc0 | c >> 6));
	} else {
		buf_putc(out, (char)(0xe0 | c >> 12));
		buf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	buf_putc(out, (char)(0x80 | (c & 0x3f)));
}

static void from_windows(const char *s, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x80)
			buf_putc(out, (char)c);
		else if (c >= 0xa0)
			put(out, c);
		else
			put(out, windows[c - 0x80] ? windows[c - 0x80] : 0xfffd);
	}
}

bool charset_mend(const char *content_type, const char *s, size_t len, struct buf *out,
		  const char **how)
{
	if (utf8_is_valid(s,
			  len)) /* also where another charset is stated: most that do send UTF-8 */
		return false;
	buf_reserve(out, len + len / 8 + 1);
	*how = is_latin(content_type) ? "windows-1252" : "replaced";
	if (is_latin(content_type))
		from_windows(s, len, out);
	else
		utf8_append_clean(out, s, len);
	return true;
}
