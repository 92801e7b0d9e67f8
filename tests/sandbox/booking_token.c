#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/id.h"
#include "tests/sandbox/booking.h"

static char key[ID_LEN + 1];

/* Base 64 for URLs, without padding. */
static void put_part(struct buf *out, const char *s, size_t n)
{
	struct buf part = BUF_INIT;

	base64_encode(&part, s, n);
	for (size_t i = 0; i < part.len && part.data[i] != '='; i++)
		buf_putc(out, part.data[i] == '+' ? '-' : part.data[i] == '/' ? '_' : part.data[i]);
	buf_clear(&part);
}

/* Two hashes with a key of this process: nobody else has to verify it. */
static void sign(const char *s, size_t n, struct buf *out)
{
	struct buf text = BUF_INIT;
	uint64_t hash[4];

	if (!*key)
		id_new(key);
	buf_printf(&text, "%s.%.*s.%s", key, (int)n, s, key);
	for (int i = 0; i < 4; i++)
		hash[i] = crypto_hash64(text.data, text.len, (uint64_t)i);
	put_part(out, (const char *)hash, sizeof(hash));
	buf_clear(&text);
}

void booking_jwt(int account, int64_t now_us, int64_t expires_us, struct buf *out)
{
	static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
	struct buf claims = BUF_INIT, token = BUF_INIT;

	buf_printf(&claims,
		   "{\"client_id\":\"acct-%d\",\"machine_account_id\":%d,\"provider_id\":77,"
		   "\"iat\":%lld,\"exp\":%lld}",
		   account, account, (long long)(now_us / 1000000),
		   (long long)(expires_us / 1000000));
	put_part(&token, header, strlen(header));
	buf_putc(&token, '.');
	put_part(&token, claims.data, claims.len);
	buf_append(out, token.data, token.len);
	buf_putc(out, '.');
	sign(token.data, token.len, out);
	buf_clear(&claims);
	buf_clear(&token);
}

static cJSON *claims_of(const char *part, size_t n)
{
	struct buf coded = BUF_INIT, text = BUF_INIT;
	cJSON *claims = NULL;

	for (size_t i = 0; i < n; i++)
		buf_putc(&coded, part[i] == '-' ? '+' : part[i] == '_' ? '/' : part[i]);
	while (coded.len % 4)
		buf_putc(&coded, '=');
	if (base64_decode(coded.data, coded.len, &text) == 0 &&
	    json_parse(buf_str(&text), text.len, 4096, &claims, NULL) < 0)
		claims = NULL;
	buf_clear(&coded);
	buf_clear(&text);
	return claims;
}

int booking_jwt_account(const char *token, int64_t now_us)
{
	const char *first = strchr(token, '.'), *last = strrchr(token, '.');
	struct buf expected = BUF_INIT;
	cJSON *claims = NULL;
	int64_t expires = 0;
	int account = 0;

	if (!first || last == first)
		return 0;
	sign(token, (size_t)(last - token), &expected);
	if (strcmp(buf_str(&expected), last + 1) == 0)
		claims = claims_of(first + 1, (size_t)(last - first - 1));
	if (claims && json_int(claims, "exp", &expires) && now_us / 1000000 < expires)
		account = account_number(json_str(claims, "client_id"));
	cJSON_Delete(claims);
	buf_clear(&expected);
	return account;
}
