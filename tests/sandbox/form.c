#include "tests/sandbox/form.h"

#include <stdio.h>
#include <string.h>

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'                 ? c - '0'
	       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
						    : -1;
}

/* The decoded value of a form field in place of out; false when it is not there. */
bool form_value(const char *form, size_t len, const char *name, char *out, size_t out_size)
{
	size_t name_len = strlen(name), n = 0;
	const char *end = form + len, *p = form;

	while (p < end && !((size_t)(end - p) > name_len && memcmp(p, name, name_len) == 0 &&
			    p[name_len] == '=')) {
		const char *amp = memchr(p, '&', (size_t)(end - p));

		if (!amp)
			return false;
		p = amp + 1;
	}
	if (p >= end)
		return false;
	for (p += name_len + 1; p < end && *p != '&' && n + 1 < out_size; p++) {
		if (*p == '%' && end - p > 2 && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0) {
			out[n++] = (char)(hex_digit(p[1]) * 16 + hex_digit(p[2]));
			p += 2;
		} else {
			out[n++] = *p == '+' ? ' ' : *p;
		}
	}
	out[n] = '\0';
	return true;
}

struct account *form_client(const struct exchange *x)
{
	size_t len;
	const char *form = httpd_body(x->q, &len);
	char id[128], secret[128], expected[32];
	int number;

	if (!form_value(form, len, "client_id", id, sizeof(id)))
		return NULL;
	if (!form_value(form, len, "client_secret", secret, sizeof(secret)))
		return NULL;
	number = account_number(id);
	if (!number)
		return NULL;
	snprintf(expected, sizeof(expected), "secret-%d", number);
	return strcmp(secret, expected) == 0 ? accounts_get(x->sandbox->accounts, number) : NULL;
}
