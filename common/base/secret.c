#include "common/base/secret.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "common/base/mem.h"
#include "common/base/redact.h"

void secret_zero(void *p, size_t n)
{
	if (p && n)
		OPENSSL_cleanse(p, n);
}

void secret_set(struct secret *s, const void *bytes, size_t len)
{
	struct secret old = *s;

	s->bytes = mem_alloc(len + 1);
	if (len)
		memcpy(s->bytes, bytes, len);
	s->bytes[len] = '\0';
	s->len = len;
	redact_register(s->bytes, len);
	secret_clear(&old); /* last: `bytes` may be its own */
}

void secret_clear(struct secret *s)
{
	if (!s || !s->bytes)
		return;
	redact_unregister(s->bytes, s->len);
	secret_zero(s->bytes, s->len);
	free(s->bytes);
	*s = (struct secret)SECRET_INIT;
}

const char *secret_reveal(const struct secret *s)
{
	return s->bytes ? s->bytes : "";
}

bool secret_equal(const void *a, size_t alen, const void *b, size_t blen)
{
	return alen == blen && (alen == 0 || CRYPTO_memcmp(a, b, alen) == 0);
}

void secret_free_buf(struct buf *b)
{
	secret_zero(b->data, b->cap);
	buf_clear(b);
}

void secret_harden_process(void)
{
	const struct rlimit none = { 0, 0 };

	/* either one alone would do for core files; ptrace and /proc/PID/mem are closed by the second */
	if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		abort();
}
