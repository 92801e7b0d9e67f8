/* A code that a person types in elsewhere (RFC 8628). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/loop.h"
#include "drivers/kit/auth_authorize.h"
#include "drivers/kit/auth_grant.h"
#include "drivers/kit/call_door.h"

#define DEVICE_INTERVAL_MS 5000
#define DEVICE_LIFE_MS (10 * 60 * 1000LL)
#define DEVICE_LIFE_MAX_S 3600
#define DEVICE_GRANT "urn:ietf:params:oauth:grant-type:device_code"

void device_code_clear(struct device_code *d)
{
	secret_clear(&d->code);
	free(d->user_code);
	free(d->uri);
	free(d->uri_complete);
	*d = (struct device_code){ 0 };
}

static int device_read(const cJSON *json, struct device_code *out, struct err *err)
{
	const char *code = json ? json_str(json, "device_code") : NULL,
		   *user = json ? json_str(json, "user_code") : NULL,
		   *uri = json ? json_str(json, "verification_uri|verification_url") : NULL,
		   *whole = json ? json_str(json, "verification_uri_complete") : NULL;
	int64_t s = 0;

	if (!code || !*code || !user || !uri)
		return err_set(err, -EREMOTEIO, ERR_DATA, "device",
			       "the partner's answer has no device_code, user_code and"
			       " verification_uri");
	secret_set(&out->code, code, strlen(code));
	out->user_code = mem_strdup(user);
	out->uri = mem_strdup(uri);
	out->uri_complete = whole ? mem_strdup(whole) : NULL;
	out->interval_ms =
		json_int(json, "interval", &s) && s > 0 && s < 300 ? s * 1000 : DEVICE_INTERVAL_MS;
	out->ends_ms =
		loop_now_ms() + (json_int(json, "expires_in", &s) && s > 0 && s < DEVICE_LIFE_MAX_S
					 ? s * 1000
					 : DEVICE_LIFE_MS);
	return 0;
}

int device_begin(struct caller *c, struct device_code *out, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct token_ask ask = { .url = m->auth.device_url, .params = &m->auth.authorize_params };
	struct auth_entry *e = auth_entry_ref(c->door->auth, c);
	struct call_result r;
	struct err why = { 0 };
	int rc;

	call_result_init(&r);
	rc = authorize_ask(c, e, &ask, &r, &why);
	if (rc == 0 && why.class != ERR_NONE)
		rc = -EREMOTEIO;
	if (rc == 0)
		rc = device_read(r.json, out, &why);
	call_result_clear(&r);
	auth_entry_unref(e);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

/* What RFC 8628 has for "not yet".  A partner that cannot be reached is asked again, less often. */
static int device_pending(struct device_code *d, const struct call_result *r, const struct err *why,
			  struct err *err)
{
	const char *error = r->json ? json_str(r->json, "error") : NULL;

	if (error && strcmp(error, "authorization_pending") == 0)
		return -EINPROGRESS;
	if (error && strcmp(error, "slow_down") == 0) {
		d->interval_ms += DEVICE_INTERVAL_MS;
		return -EINPROGRESS;
	}
	if (why->class == ERR_TRANSIENT || why->class == ERR_RATE_LIMIT) {
		d->interval_ms = d->interval_ms * 2 < 60000 ? d->interval_ms * 2 : 60000;
		return -EINPROGRESS;
	}
	return err_set(err, -EACCES, ERR_AUTH, "device", "%s",
		       error && strcmp(error, "access_denied") == 0   ? "it was refused"
		       : error && strcmp(error, "expired_token") == 0 ? "nobody answered in time"
								      : why->text);
}

int device_poll(struct caller *c, struct device_code *d, struct err *err)
{
	struct token_ask ask = { .grant_type = DEVICE_GRANT,
				 .fields = { { "device_code", secret_reveal(&d->code) } },
				 .n_fields = 1 };
	struct auth_entry *e = auth_entry_ref(c->door->auth, c);
	struct call_result r;
	struct err why = { 0 };
	int rc;

	call_result_init(&r);
	rc = authorize_ask(c, e, &ask, &r, &why);
	if (rc == 0 && why.class != ERR_NONE)
		rc = device_pending(d, &r, &why, &why);
	else if (rc == 0)
		rc = authorize_grant(c, e, &r, &why);
	if (rc == -EINPROGRESS && loop_now_ms() >= d->ends_ms)
		rc = err_set(&why, -EACCES, ERR_AUTH, "device", "nobody answered in time");
	call_result_clear(&r);
	auth_entry_unref(e);
	if (rc < 0 && err)
		*err = why;
	return rc;
}
