/* Repeatable numbers: the same seed and path give the same content on every machine (splitmix64).
 * Nothing here is secret and nothing here waits. */
#ifndef TESTS_SANDBOX_RNG_H
#define TESTS_SANDBOX_RNG_H

#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline struct rng rng_of(uint64_t seed, uint64_t a, uint64_t b)
{
	struct rng r = { seed };

	r.state = rng_next(&r) ^ a * 0xd6e8feb86659fd93ULL;
	r.state = rng_next(&r) ^ b * 0xa0761d6478bd642fULL;
	return r;
}

static inline int rng_below(struct rng *r, int n)
{
	return (int)(rng_next(r) % (uint64_t)n);
}

static inline int rng_between(struct rng *r, int low, int high) /* both included */
{
	return low + rng_below(r, high - low + 1);
}

static inline double rng_unit(struct rng *r) /* 0 <= x < 1 */
{
	return (double)(rng_next(r) >> 11) / 9007199254740992.0;
}

#define rng_pick(r, table) ((table)[rng_below((r), (int)ARRAY_LEN(table))])

#endif
