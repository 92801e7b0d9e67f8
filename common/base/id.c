#include "common/base/id.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/clock.h"

/* A system call per identifier would be a third of its cost: random bytes are fetched ahead.  A
 * forked child must not hand out the same ones as its parent, so fork empties the pool. */
#define POOL_BYTES 256 /* getrandom never splits a request of up to 256 bytes */

static uint8_t pool[POOL_BYTES];
static size_t pool_left;

static void pool_forget(void)
{
	pool_left = 0;
}

static void random_system(uint8_t *out, size_t n)
{
	while (n > 0) {
		ssize_t got = getrandom(out, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			abort(); /* nothing we make without randomness would be safe */
		out += got;
		n -= (size_t)got;
	}
}

static void pool_fill(void)
{
	static int watched;

	if (!watched && pthread_atfork(NULL, NULL, pool_forget) != 0)
		abort();
	watched = 1;
	random_system(pool, sizeof(pool));
	pool_left = sizeof(pool);
}

void random_bytes(void *out, size_t n)
{
	if (n > 32) {
		random_system(out, n);
		return;
	}
	if (n > pool_left)
		pool_fill();
	pool_left -= n;
	memcpy(out, pool + pool_left, n);
	explicit_bzero(pool + pool_left, n); /* it may have become a key */
}

unsigned random_below(unsigned n)
{
	/* values under `skip` would make the first remainders likelier */
	unsigned skip, r;

	assert(n > 0);
	skip = (0u - n) % n;
	do
		random_bytes(&r, sizeof(r));
	while (r < skip);
	return r % n;
}

void id_new(char out[ID_LEN + 1])
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	uint64_t ms = (uint64_t)clock_real_ms();
	uint8_t raw[16];

	random_bytes(raw, sizeof(raw));
	for (int i = 9; i >= 0; i--) {
		out[i] = digits[ms & 31];
		ms >>= 5;
	}
	for (int i = 0; i < 16; i++)
		out[10 + i] = digits[raw[i] & 31];
	out[ID_LEN] = '\0';
}
