/* A process that died has calls in flight that nobody will end: their permits are known by its prefix. */
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/queue/limit_impl.h"

#define GONE_MAX 64 /* processes a partner */
#define GONE_LIFE_MS (10 * 60 * 1000)

/* The same for the same epoch, so that who saw it die need not have been told; and unique, as epochs are.
 * NULL: nobody watches this process. */
void limit_prefix(const char *epoch, char out[LIMIT_PREFIX])
{
	uint8_t digest[SHA256_BYTES];

	if (epoch)
		crypto_sha256(epoch, strlen(epoch), digest);
	else
		random_bytes(digest, sizeof(digest));
	crypto_hex(digest, (LIMIT_PREFIX - 1) / 2, out);
}

int limiter_gone(struct redis *r, const char *partner, const char *epoch, int64_t deadline_ms,
		 struct err *err)
{
	char prefix[LIMIT_PREFIX];
	char *key = mem_printf("limit:{%s}:gone", partner);
	struct redis_args args;

	limit_prefix(epoch, prefix);
	redis_args_init(&args);
	redis_arg(&args, key);
	redis_arg(&args, prefix);
	redis_arg_int(&args, GONE_MAX);
	redis_arg_int(&args, GONE_LIFE_MS);
	int rc = redis_call_script(r, &lua_gone, 1, &args, NULL, deadline_ms, err);
	redis_args_clear(&args);
	free(key);
	return rc;
}
