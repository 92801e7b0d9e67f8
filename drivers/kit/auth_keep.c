/* A right that dies when nobody uses it. */
#include <errno.h>
#include <string.h>

#include "common/io/co.h"
#include "common/store/grant.h"
#include "drivers/kit/auth_store.h"
#include "drivers/kit/call_door.h"

/* Another token, though the present one is good: it is the asking that counts. */
static int ask_anew(struct auth_store *a, struct caller *c, struct err *err)
{
	struct auth_entry *e = auth_entry_ref(a, c);
	int rc = gate_enter(&e->gate, "token", CO_NO_DEADLINE);

	if (rc == 0) {
		e->refused_minted_ms = redis_now_ms(a->redis);
		token_clear(&e->token);
		rc = token_renew(a, c, e, err);
		gate_leave(&e->gate);
	} else {
		err_set(err, rc, ERR_CANCELLED, "token", "ended while waiting");
	}
	auth_entry_unref(e);
	return rc;
}

/* The first collection that can be asked for by itself. */
static const struct manifest_collection *plain_collection(const struct manifest *m)
{
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].get && !m->collections[i].each &&
		    !strchr(m->collections[i].get, '{'))
			return &m->collections[i];
	return NULL;
}

static int call_once(struct auth_store *a, struct caller *c, struct err *err)
{
	const struct manifest_collection *k = plain_collection(c->driver->manifest);
	struct manifest_pair one = { k ? k->paging.limit_param : NULL, "1" };
	struct call_spec spec = { .method = "GET", .query = &one, .repeatable = true };
	struct call_result r;
	int rc;

	if (!k)
		return err_set(err, -ENOTSUP, ERR_CLIENT, "keep alive",
			       "the manifest has no collection that can be asked for by itself");
	spec.endpoint = spec.path = k->get;
	spec.n_query = one.name != NULL;
	rc = call(c, &spec, &r, err);
	call_result_clear(&r);
	return rc == 0 ? grant_touch(a->pg, c->integration->id, err) : rc;
}

int auth_keep_alive(struct caller *c, struct err *err)
{
	struct auth_store *a = c->door->auth;

	return auth_has_token(c->driver->manifest) ? ask_anew(a, c, err) : call_once(a, c, err);
}
