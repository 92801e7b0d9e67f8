/* The token call: what is read.  No network, no waiting. */
#include "drivers/kit/auth_token_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

#define TOKEN_LIFE_MAX_MS (10 * 366 * 86400000LL)
#define JWT_MAX_BYTES (32 * 1024)

/* Seconds, as a number or as text; may have a fraction. */
static bool seconds_of(const cJSON *v, int64_t *ms)
{
	struct buf text = BUF_INIT;
	double seconds = 0;

	if (v && json_scalar_text(v, &text))
		seconds = strtod(buf_str(&text), NULL);
	buf_clear(&text);
	if (!(seconds > 0 && seconds < 1e10))
		return false;
	*ms = (int64_t)(seconds * 1000);
	return true;
}

static bool moment_of(const cJSON *v, int64_t *ms)
{
	struct buf text = BUF_INIT;
	int64_t us;
	bool ok =
		v && json_scalar_text(v, &text) && clock_parse_time(buf_str(&text), &us, NULL) == 0;

	buf_clear(&text);
	if (ok)
		*ms = us / 1000;
	return ok;
}

/* The claims of header.claims.signature; the caller's, NULL where it is none. */
static cJSON *claims_of(const char *token)
{
	const char *claims = strchr(token, '.'), *end = claims ? strchr(claims + 1, '.') : NULL;
	struct buf text = BUF_INIT;
	cJSON *json = NULL;

	if (!end || end - claims > JWT_MAX_BYTES)
		return NULL;
	if (base64_decode(claims + 1, (size_t)(end - claims - 1), &text) < 0 ||
	    json_parse(buf_str(&text), text.len, JWT_MAX_BYTES, &json, NULL) < 0)
		json = NULL;
	secret_free_buf(&text);
	return json;
}

/* Whoever's clock is off, the span between `iat` and `exp` is right; a token that was issued before it was
 * handed to us has less left than that. */
int64_t jwt_left_ms(const char *token, int64_t now_ms)
{
	cJSON *claims = claims_of(token);
	int64_t exp = 0, iat = 0, left = 0;

	if (claims && seconds_of(json_path(claims, "exp"), &exp)) {
		left = exp - now_ms;
		if (seconds_of(json_path(claims, "iat"), &iat) && iat < exp &&
		    (left <= 0 || exp - iat < left))
			left = exp - iat;
	}
	cJSON_Delete(claims);
	return left > 0 ? left : 0;
}

/* What cannot be read is an hour. */
static int64_t life_ms(const struct manifest_auth *a, const cJSON *json, const char *access,
		       int64_t now_ms)
{
	const cJSON *v = a->expires_path && json ? json_path(json, a->expires_path) : NULL;
	int64_t ms = 0;

	switch (a->expires) {
	case EXPIRES_FIXED:
		ms = a->expires_fixed_ms;
		break;
	case EXPIRES_SECONDS:
		if (!seconds_of(v, &ms))
			ms = 0;
		break;
	case EXPIRES_AT:
		ms = moment_of(v, &ms) ? ms - now_ms : 0;
		break;
	case EXPIRES_JWT:
		ms = jwt_left_ms(access, now_ms);
		break;
	}
	if (ms <= 0)
		ms = TOKEN_LIFE_DEFAULT_MS;
	return ms < TOKEN_LIFE_MAX_MS ? ms : TOKEN_LIFE_MAX_MS;
}

static const char *text_at(const struct http_response *h, const cJSON *json, const char *path)
{
	if (strncmp(path, "header:", 7) == 0)
		return http_response_header(h, path + 7);
	return json ? json_str(json, path) : NULL;
}

int token_answer_read(const struct manifest *m, const struct http_response *h, const cJSON *json,
		      int64_t now_ms, struct token *out, struct err *err)
{
	const char *path = m->auth.token_path ? m->auth.token_path : "access_token";
	const char *access = text_at(h, json, path);

	if (!access || !*access)
		return err_set(err, -EREMOTEIO, ERR_DATA, "token",
			       "the token endpoint's answer has no %s", path);
	secret_set(&out->access, access, strlen(access));
	out->minted_ms = now_ms;
	out->usable_ms = now_ms + m->auth.usable_after_ms;
	out->expires_ms = now_ms + life_ms(&m->auth, json, access, now_ms);
	return 0;
}

const char *token_answer_refresh(const struct manifest *m, const cJSON *json)
{
	const char *token = json ? json_str(json, m->auth.refresh.token) : NULL;

	return token && *token ? token : NULL;
}

int64_t token_answer_lapses_ms(const cJSON *json)
{
	static const char *const names[] = { "refresh_token_expires_in", "refresh_expires_in",
					     "x_refresh_token_expires_in" };
	int64_t ms = 0;

	for (size_t i = 0; json && i < sizeof(names) / sizeof(*names); i++)
		if (seconds_of(json_path(json, names[i]), &ms))
			return ms < TOKEN_LIFE_MAX_MS ? ms : TOKEN_LIFE_MAX_MS;
	return 0;
}
