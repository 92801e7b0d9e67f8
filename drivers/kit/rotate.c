#include "drivers/kit/rotate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/store/grant.h"
#include "drivers/kit/auth_store.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/paginate.h"
#include "drivers/kit/subst.h"

#define REDIS_WAIT_MS 5000

const char *rotation_name(enum rotation r)
{
	static const char *const names[] = { "rotated", "rotated, unproven", "refused", "untried",
					     "undone" };

	return names[r];
}

/* ---- the cheap call ---- */

struct names {
	const struct caller *c;
	struct buf keep;
};

static const char *setting(const char *name, void *arg)
{
	struct names *n = arg;

	buf_reset(&n->keep);
	return strncmp(name, "cfg.", 4) == 0
		       ? cfg_text(n->c->driver->manifest, n->c->integration, name + 4, &n->keep)
		       : NULL;
}

static int call_verify(struct caller *c, const struct manifest_proof *v, struct err *err)
{
	struct names names = { c, BUF_INIT };
	struct arena *arena = arena_new();
	struct buf path = BUF_INIT;
	struct call_spec spec = {
		.endpoint = v->get, .method = "GET", .n_query = v->query.n, .repeatable = true
	};
	struct call_result r;
	int rc = subst(v->get, SUBST_PATH, setting, &names, &path, err);

	if (rc == 0)
		rc = subst_pairs(&v->query, setting, &names, arena, &spec.query, err);
	spec.path = buf_str(&path);
	if (rc == 0) {
		rc = call(c, &spec, &r, err);
		call_result_clear(&r);
	}
	arena_free(arena);
	buf_clear(&path);
	buf_clear(&names.keep);
	return rc;
}

static int call_collection(struct caller *c, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct pager_options o = { .size = 1 };
	struct pager *pager = NULL;
	struct page page = { 0 };
	int rc;

	for (int i = 0; i < m->n_collections && !o.collection; i++)
		if (m->collections[i].get && !m->collections[i].each)
			o.collection = &m->collections[i];
	if (!o.collection)
		return err_set(err, -EINVAL, ERR_CLIENT, "auth.verify",
			       "%s has no call to prove a credential with: give auth.verify in its"
			       " manifest",
			       m->partner);
	rc = pager_new(c, &o, &pager, err);
	if (rc == 0) {
		rc = pager_next(pager, &page, err);
		page_clear(&page);
	}
	pager_free(pager);
	return rc < 0 ? rc : 0;
}

/* What was let in, whatever else is wrong with the answer. */
static bool is_let_in(int rc, const struct err *e)
{
	return rc == 0 || ((rc == -EREMOTEIO || rc == -EBADMSG) &&
			   (e->class == ERR_DATA || e->class == ERR_MEMORY));
}

int verify_credential(struct caller *c, struct err *err)
{
	const struct manifest_proof *v = &c->driver->manifest->auth.verify;
	struct err why = { 0 };
	int rc = v->get ? call_verify(c, v, &why) : call_collection(c, &why);

	if (is_let_in(rc, &why))
		return 0;
	if (rc == -EREMOTEIO && (why.class == ERR_AUTH || why.class == ERR_CLIENT))
		rc = -EACCES;
	if (err)
		*err = why;
	return rc;
}

/* ---- the rotation ---- */

struct rotating {
	const struct door_options *o;
	const struct driver *d;
	const struct integration *i;
	const struct secret *json;
	enum rotation out;
};

static struct caller caller_of(const struct rotating *t, struct door *door)
{
	return (struct caller){ .door = door, .driver = t->d, .integration = t->i, .high = true };
}

/* As a worker sees them that knows nothing yet. */
static int look_again(const struct rotating *t, struct err *err)
{
	struct door *door = door_new(t->o);
	struct caller c = caller_of(t, door);
	int rc = verify_credential(&c, err);

	door_free(door);
	return rc;
}

static int undo(struct rotating *t, struct credential_change *change, const struct err *why,
		struct err *err)
{
	int rc = credential_restore(t->o->pg, t->i->id, change, err);

	if (rc == 0)
		rc = auth_drop(t->o->redis, t->d->manifest->partner, t->i->id,
			       loop_now_ms() + REDIS_WAIT_MS, err);
	if (rc == 0)
		rc = credential_settle(t->o->pg, t->i->id, change->at, err);
	if (rc == 0) {
		t->out = ROTATION_UNDONE;
		*err = *why;
	}
	return rc;
}

/* From here they are in force: what dies behind the store leaves credentials that were tried, and a scheduler drops the old token. */
static int store(struct rotating *t, struct caller *trial, const char *was, struct err *err)
{
	struct credential_change change;
	struct err why = { 0 };
	int rc = credential_replace(t->o->pg, t->o->keyring, t->i->id, was, t->json, &change, err);

	if (rc == 0)
		rc = auth_trial_keep(trial->door->auth, trial, err);
	if (rc == 0)
		rc = credential_settle(t->o->pg, t->i->id, change.at, err);
	if (rc < 0)
		return rc;
	rc = look_again(t, &why);
	if (rc == -EACCES && was)
		return undo(t, &change, &why, err);
	t->out = rc == 0 ? ROTATION_DONE : ROTATION_UNPROVEN;
	*err = why;
	return 0;
}

static int try_and_store(struct rotating *t, struct door *door, const char *was, struct err *err)
{
	struct caller c = caller_of(t, door);
	int rc = auth_trial(door->auth, &c, t->json, err);

	if (rc < 0)
		return rc;
	rc = verify_credential(&c, err);
	if (rc == 0)
		return store(t, &c, was, err);
	t->out = rc == -EACCES ? ROTATION_REFUSED : ROTATION_UNTRIED;
	return rc == -ECANCELED ? rc : 0;
}

/* What a person allowed outlives a new secret of ours: they are tried by renewing it with the new ones, as any renewal is (written
 * down before it is sent, stored before it is used), and what comes of it is good whichever secret is in force.  A
 * partner that refuses them spends nothing.  Without a grant there is nothing that they could be tried with. */
static int need_grant(const struct rotating *t, struct err *err)
{
	struct err why = { 0 };
	int64_t generation;
	int rc = grant_generation(t->o->pg, t->i->id, &generation, &why);

	if (rc == -ENOENT)
		return err_set(
			err, -EINVAL, ERR_CLIENT, "rotate",
			"nobody has allowed integration %lld anything yet, so there is nothing to try"
			" credentials with: store them with `longshore integration resume %lld --credentials FILE`,"
			" then `longshore integration authorize %lld`",
			(long long)t->i->id, (long long)t->i->id, (long long)t->i->id);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

int rotate_credentials(const struct door_options *o, const struct driver *d,
		       const struct integration *i, const struct secret *json, enum rotation *out,
		       struct err *err)
{
	struct rotating t = { .o = o, .d = d, .i = i, .json = json };
	struct secret previous = SECRET_INIT;
	struct err why = { 0 };
	struct door *door;
	char *was = NULL;
	int rc;

	rc = auth_has_grant(d->manifest) ? need_grant(&t, err) : 0;
	if (rc < 0)
		return rc;
	rc = credential_sealed(o->pg, i->id, &was, &why);
	if (rc == 0 && !json) {
		rc = credential_previous(o->pg, o->keyring, i->id, &previous, &why);
		t.json = &previous;
	}
	if (rc == 0) {
		door = door_new(o);
		rc = try_and_store(&t, door, was, &why);
		door_free(door);
	}
	if (rc == 0) {
		log_event(LOG_INFO, "credentials_rotated", LI("integration_id", i->id),
			  LS("outcome", rotation_name(t.out)),
			  LS("reason", why.class ? why.text : NULL));
		*out = t.out;
	}
	if (err)
		*err = why;
	secret_clear(&previous);
	free(was);
	return rc;
}
