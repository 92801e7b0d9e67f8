#include "drivers/kit/sealed_body.h"

#include <errno.h>
#include <stdio.h>

#define CONTEXT_MAX (INTAKE_HASH_CHARS + 16)

void event_hash(const char *event_id, int64_t integration, char out[INTAKE_HASH_CHARS + 1])
{
	uint8_t sum[SHA256_BYTES];
	struct buf text = BUF_INIT;

	buf_putint(&text, integration);
	buf_putc(&text, ':');
	buf_puts(&text, event_id);
	crypto_sha256(text.data, text.len, sum);
	crypto_hex(sum, INTAKE_HASH_CHARS / 2, out);
	buf_clear(&text);
}

static void context(const char *hash, char out[CONTEXT_MAX])
{
	snprintf(out, CONTEXT_MAX, "webhook:%s", hash);
}

int body_seal(const struct keyring *k, const char *hash, const char *body, size_t len,
	      struct buf *out)
{
	char bound[CONTEXT_MAX];

	if (!k)
		return -ENOKEY;
	context(hash, bound);
	return crypto_seal(k, bound, body, len, out);
}

int body_unseal(const struct keyring *k, const cJSON *args, int64_t integration, cJSON **out)
{
	const char *id = json_str(args, "event_id"), *sealed = json_str(args, "sealed");
	char hash[INTAKE_HASH_CHARS + 1], bound[CONTEXT_MAX];
	struct secret body = SECRET_INIT;
	int rc;

	if (!id || !sealed)
		return -EINVAL;
	if (!k)
		return -ENOKEY;
	event_hash(id, integration, hash);
	context(hash, bound);
	rc = crypto_open(k, bound, sealed, &body);
	if (rc == 0 && json_parse(secret_reveal(&body), body.len, JOB_MAX_BYTES, out, NULL) < 0)
		rc = -EBADMSG;
	secret_clear(&body);
	return rc;
}
