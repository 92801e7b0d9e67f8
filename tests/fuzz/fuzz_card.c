/* Card numbers in whole texts, as they may stand in anything that is pushed or posted.  What is found lies within the text; what is
 * masked loses every digit of each card, and holds no other card afterwards. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/card.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(int holds)
{
	if (!holds)
		abort();
}

/* Of stars alone, gaps apart. */
static int is_masked(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] >= '0' && s[i] <= '9')
			return 0;
	return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *s = (const char *)data;
	struct buf b = BUF_INIT, again = BUF_INIT;
	size_t at = 0, n = 0, last = 0;
	int found = 0;

	while (at < size && card_find(s, size, &at, &n)) {
		need(n >= 13 && at + n <= size && (!found || at >= last));
		found = 1;
		last = at += n;
	}
	need(card_is_in(s, size) == (found != 0));
	buf_append(&b, s, size);
	card_mask(&b);
	need(b.len <= size && (found || size == 0 || (b.len == size && !memcmp(b.data, s, size))));
	for (at = 0; b.len && at < b.len && card_find(b.data, b.len, &at, &n); at += n)
		need(is_masked(b.data + at, n));
	buf_append(&again, b.data, b.len);
	card_mask(&again);
	need(again.len == b.len && (b.len == 0 || memcmp(again.data, b.data, b.len) == 0));
	buf_clear(&b);
	buf_clear(&again);
	return 0;
}
