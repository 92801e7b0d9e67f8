#include <errno.h>
#include <string.h>

#include "common/base/crypto.h"

void base64_encode(struct buf *out, const void *p, size_t n)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *s = p;
	char *d;

	buf_reserve(out, (n + 2) / 3 * 4);
	d = out->data + out->len;
	for (; n >= 3; n -= 3, s += 3) {
		uint32_t v = (uint32_t)s[0] << 16 | (uint32_t)s[1] << 8 | s[2];

		*d++ = alphabet[v >> 18];
		*d++ = alphabet[v >> 12 & 63];
		*d++ = alphabet[v >> 6 & 63];
		*d++ = alphabet[v & 63];
	}
	if (n > 0) {
		uint32_t v = (uint32_t)s[0] << 16 | (n > 1 ? (uint32_t)s[1] << 8 : 0);

		*d++ = alphabet[v >> 18];
		*d++ = alphabet[v >> 12 & 63];
		*d++ = n > 1 ? alphabet[v >> 6 & 63] : '=';
		*d++ = '=';
	}
	*d = '\0';
	out->len = (size_t)(d - out->data);
}

static int sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

/* Bits left over must be zero, so that each byte string has one text (a signature compared as text
 * must not have twins). */
int base64_decode(const char *s, size_t len, struct buf *out)
{
	size_t pad = 0, at;
	uint32_t v = 0;
	int bits = 0;
	uint8_t *d;

	while (pad < 2 && len > 0 && s[len - 1] == '=') {
		len--;
		pad++;
	}
	if (len % 4 == 1 || (pad && (len + pad) % 4 != 0))
		return -EINVAL;
	buf_reserve(out, len / 4 * 3 + 3);
	at = out->len;
	d = (uint8_t *)out->data;
	for (size_t i = 0; i < len; i++) {
		int six = sextet(s[i]);

		if (six < 0)
			goto bad;
		v = v << 6 | (uint32_t)six;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			d[at++] = (uint8_t)(v >> bits);
		}
	}
	if (v & ((1u << bits) - 1))
		goto bad;
	out->len = at;
	out->data[at] = '\0';
	return 0;
bad:
	out->data[out->len] = '\0';
	return -EINVAL;
}
