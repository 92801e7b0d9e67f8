/* Credentials that are to be proven before anybody else sees them. */
#include <errno.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/io/loop.h"
#include "drivers/kit/auth_store.h"

#define TRIAL_MS (10 * 60 * 1000LL) /* longer than any trial takes */

int auth_trial(struct auth_store *a, struct caller *c, const struct secret *json, struct err *err)
{
	struct credential fresh = { 0 };
	struct auth_entry *e;
	int rc = credential_parse(c->driver->manifest, json, &fresh, err);

	if (rc < 0)
		return rc;
	a->trial = true;
	e = idmap_get(&a->entries, c->integration->id);
	if (!e) {
		e = mem_new(struct auth_entry);
		e->integration = c->integration->id;
		gate_init(&e->gate, 1);
		idmap_put(&a->entries, e->integration, e);
	}
	credential_clear(&e->credential);
	e->credential = fresh;
	e->credential_until_ms = loop_now_ms() + TRIAL_MS;
	e->version = ++a->versions;
	return 0;
}

int trial_renew(struct auth_store *a, struct caller *c, struct auth_entry *e, struct err *err)
{
	struct token fresh = { 0 };
	int rc = token_mint(a, c, e, &fresh, err);

	if (rc < 0)
		return rc;
	token_clear(&e->token);
	e->token = fresh;
	e->version = ++a->versions;
	return 0;
}

int auth_drop(struct redis *r, const char *partner, int64_t integration_id, int64_t deadline_ms,
	      struct err *err)
{
	char *token = mem_printf("token:{%s}:%lld", partner, (long long)integration_id);
	int rc = redis_callv(r, NULL, deadline_ms, err, "DEL", token, NULL);

	free(token);
	return rc < 0 ? rc : auth_forget(r, partner, integration_id, deadline_ms, err);
}

int auth_trial_keep(struct auth_store *a, struct caller *c, struct err *err)
{
	struct auth_entry *e = idmap_get(&a->entries, c->integration->id);
	int64_t until_ms = loop_now_ms() + REDIS_PATIENCE_MS;
	int rc;

	if (!e || !e->token.access.len)
		return auth_drop(a->redis, c->driver->manifest->partner, c->integration->id,
				 until_ms, err);
	rc = token_store(a, c, e, err);
	return rc < 0 ? rc
		      : auth_forget(a->redis, c->driver->manifest->partner, c->integration->id,
				    until_ms, err);
}
