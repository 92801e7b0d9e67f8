#include <string.h>

#include "common/base/json.h"

/* Length of the character at s, or minus the number of bytes that one U+FFFD stands for (the
 * longest beginning of a character, as browsers count). Overlong forms and surrogates are
 * invalid. */
static int utf8_step(const uint8_t *s, size_t n)
{
	uint8_t low = 0x80, high = 0xbf, c = s[0];
	int need;

	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return -1;
	need = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	if (c == 0xe0)
		low = 0xa0;
	else if (c == 0xed)
		high = 0x9f;
	else if (c == 0xf0)
		low = 0x90;
	else if (c == 0xf4)
		high = 0x8f;
	for (int i = 1; i <= need; i++) {
		if ((size_t)i >= n || s[i] < low || s[i] > high)
			return -i;
		low = 0x80;
		high = 0xbf;
	}
	return need + 1;
}

size_t utf8_valid_prefix(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len) {
		uint64_t eight;
		int step;

		if (len - i >= 8) {
			memcpy(&eight, s + i, 8);
			if (!(eight & 0x8080808080808080ull)) {
				i += 8;
				continue;
			}
		}
		step = utf8_step((const uint8_t *)s + i, len - i);
		if (step < 0)
			return i;
		i += (size_t)step;
	}
	return len;
}

bool utf8_is_valid(const char *s, size_t len)
{
	return utf8_valid_prefix(s, len) == len;
}

/* NUL goes the way of invalid bytes: Postgres text and C strings cannot hold it. */
void utf8_append_clean(struct buf *out, const char *s, size_t len)
{
	while (len > 0) {
		const char *nul = memchr(s, 0, len);
		size_t good = utf8_valid_prefix(s, nul ? (size_t)(nul - s) : len);

		buf_append(out, s, good);
		s += good;
		len -= good;
		if (len > 0) {
			int step = *s ? -utf8_step((const uint8_t *)s, len) : 1;

			buf_append(out, "\xef\xbf\xbd", 3);
			s += step;
			len -= (size_t)step;
		}
	}
}
