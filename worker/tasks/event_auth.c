/* Events about an integration's credentials. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/store/store.h"
#include "drivers/kit/control.h"
#include "drivers/kit/rotate.h"
#include "drivers/kit/sealed_body.h"
#include "worker/integrations.h"
#include "worker/tasks/webhook.h"

#define ALERT "credentials_rotation"

/* ---- auth_revoked ---- */

static int64_t told_us(const struct hook *h)
{
	return h->happened_us ? h->happened_us : h->row.received_us;
}

/* As it stands in Postgres now; *broken: marked auth_broken. */
static int look_broken(struct hook *h, bool *broken)
{
	struct attempt *a = h->a;
	const struct integration *now = NULL;
	int rc;

	integrations_forget(a->integration->id);
	rc = integrations_get(a->worker, a->integration->id, &now, &a->err);
	if (rc < 0)
		return rc;
	*broken = strcmp(now->status, "auth_broken") == 0;
	integrations_put(now);
	return 0;
}

static int check_marked(struct hook *h)
{
	struct attempt *a = h->a;
	bool marked = false;
	int rc = look_broken(h, &marked);

	if (rc < 0 || marked)
		return rc;
	return err_set(&a->err, -EAGAIN, ERR_HOLD, "auth_revoked",
		       "the integration could not be marked");
}

int event_revoked(struct hook *h)
{
	struct attempt *a = h->a;
	int64_t since_us = 0;
	int rc = credentials_since_us(a->worker->pg, a->integration->id, &since_us, &a->err);

	if (rc < 0)
		return rc;
	if (since_us > told_us(h))
		return hook_end(h, WEBHOOK_STALE, "its credentials were changed since");
	integrations_mark_broken(
		a->worker, a->integration->id,
		arena_printf(a->arena, "the partner says that access was revoked (webhook %.60s)",
			     h->row.event));
	rc = check_marked(h);
	return rc < 0 ? rc : hook_end(h, WEBHOOK_DONE, NULL);
}

/* ---- credentials_rotated ---- */

/* Not a dead letter: that would hold the job's text, and with it the credentials. */
static int give_up(struct hook *h, const char *why)
{
	struct attempt *a = h->a;
	char scope[48];
	int rc;

	snprintf(scope, sizeof(scope), "integration:%lld", (long long)a->integration->id);
	rc = alert_raise(
		a->worker->pg, ALERT, "critical", scope,
		arena_printf(
			a->arena,
			"%s sent new credentials, which are not in force: %.200s; the old ones stay",
			a->partner, why),
		arena_printf(
			a->arena,
			"ask the partner whether they were changed, and give them with `longshore integration rotate %lld --credentials FILE`",
			(long long)a->integration->id),
		&a->err);
	return rc < 0 ? rc : hook_end(h, WEBHOOK_FAILED, why);
}

/* One that was marked as broken goes on with credentials that are known to be good.  Who dies before this finds the new ones in force
 * and the mark still there, and tries them once more. */
static int mend(struct hook *h, const char *scope)
{
	struct attempt *a = h->a;
	struct worker *w = a->worker;
	bool broken = false;
	int rc = look_broken(h, &broken);

	if (rc < 0 || !broken)
		return rc;
	rc = integration_set_status(w->pg, a->integration->id, "active", NULL, &a->err);
	if (rc == 0)
		rc = alert_resolve(w->pg, "auth_broken", scope, &a->err);
	if (rc == 0)
		rc = control_mirror(w->redis, w->pg, a->driver, a->partner, false,
				    attempt_deadline_ms(a), &a->err);
	integrations_forget(a->integration->id);
	return rc;
}

static int in_force(struct hook *h, enum rotation r)
{
	struct attempt *a = h->a;
	char scope[48];
	int rc;

	snprintf(scope, sizeof(scope), "integration:%lld", (long long)a->integration->id);
	rc = mend(h, scope);
	if (rc == 0)
		rc = alert_resolve(a->worker->pg, ALERT, scope, &a->err);
	return rc < 0 ? rc
		      : hook_end(h, WEBHOOK_DONE, r == ROTATION_DONE ? NULL : rotation_name(r));
}

/* The trial could not be made, or somebody else rotates now. */
static int again(struct hook *h, const char *why)
{
	static const int waits_s[] = { 1, 5, 30, 120, 600 };
	struct attempt *a = h->a;

	if (a->step >= (int64_t)ARRAY_LEN(waits_s))
		return give_up(h, arena_printf(a->arena, "%s", why));
	return err_hold(&a->err, waits_s[a->step++] * 1000LL, "rotation", "%s", why);
}

static int rotate(struct hook *h, const struct secret *json)
{
	struct attempt *a = h->a;
	struct worker *w = a->worker;
	struct door_options o = {
		.redis = w->redis, .pg = w->pg, .keyring = w->keyring, .epoch = w->epoch
	};
	enum rotation r = ROTATION_UNTRIED;
	int rc = rotate_credentials(&o, a->driver, a->integration, json, &r, &a->err);

	if (rc == -EINVAL)
		return give_up(h, a->err.text);
	if (rc == -ESTALE)
		return again(h, "they were changed by somebody else at the same time");
	if (rc < 0)
		return rc;
	switch (r) {
	case ROTATION_DONE:
	case ROTATION_UNPROVEN:
		return in_force(h, r);
	case ROTATION_UNTRIED:
		return again(h, a->err.text);
	default:
		return give_up(h, arena_printf(a->arena, "%s: %s", rotation_name(r), a->err.text));
	}
}

static bool is_same(const struct secret *a, const struct secret *b)
{
	return secret_equal(secret_reveal(a), a->len, secret_reveal(b), b->len);
}

/* The key may have been changed in between: a worker that was not told of it yet waits, like one before the old key is given back. */
static int cannot_open(struct hook *h, int rc)
{
	struct attempt *a = h->a;
	char id[CRYPTO_KEY_ID_BYTES];

	if (rc != -ENOKEY)
		return give_up(h, "what it brought was altered since it came in");
	(void)crypto_key_id(h->sealed, id);
	return again(
		h,
		arena_printf(
			a->arena,
			"what it brought is sealed with the key %s, which this worker does not have",
			id));
}

int event_rotated(struct hook *h)
{
	struct attempt *a = h->a;
	struct secret old = SECRET_INIT, json = SECRET_INIT;
	cJSON *brought = NULL;
	int64_t since_us = 0;
	bool broken = false;
	int rc = hook_begin(h);

	if (rc == 0 && !a->worker->keyring)
		return give_up(h, "this worker was given no secret key");
	if (rc == 0 && h->sealed) {
		rc = body_unseal(a->worker->keyring, a->job.args, a->integration->id, &brought);
		if (rc < 0)
			return cannot_open(h, rc);
	}
	if (rc == 0)
		rc = look_broken(h, &broken);
	if (rc == 0)
		rc = credentials_since_us(a->worker->pg, a->integration->id, &since_us, &a->err);
	if (rc == 0)
		rc = credential_get(a->worker->pg, a->worker->keyring, a->integration->id, &old,
				    &a->err);
	if (rc == -ENOENT) {
		secret_set(&old, "{}", 2);
		rc = 0;
	}
	if (rc == 0)
		rc = event_credentials(h->e, brought ? brought : h->body, &old, &json, &a->err);
	if (rc == -EBADMSG)
		rc = give_up(h, a->err.text);
	else if (rc == 0 && !broken && is_same(&old, &json))
		rc = hook_end(h, WEBHOOK_DONE, "they are in force already");
	else if (rc == 0 && since_us > told_us(h) && !is_same(&old, &json))
		rc = hook_end(h, WEBHOOK_STALE, "its credentials were changed since");
	else if (rc == 0)
		rc = rotate(h, &json);
	json_zero(brought);
	cJSON_Delete(brought);
	secret_clear(&old);
	secret_clear(&json);
	return rc;
}
