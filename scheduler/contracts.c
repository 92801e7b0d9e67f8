#include "scheduler/contracts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "drivers/kit/contract.h"

#define LOOK_MS 60000
#define STEP_MS 5000
#define PERMIT_WAIT_MS 60000 /* nobody sits there and waits */
#define DAY_MS 86400000LL
#define AGAIN_MS 3600000LL /* where it could not be found out, or whoever looked died */
#define KIND "contract_broken"
#define ALERTS_MAX 50 /* of one partner: more of them say no more */

/* Functions that are not inlined here keep each other's errors out of one frame. */

struct looking {
	struct scheduler *s;
	const struct driver *driver;
	char *scope[ALERTS_MAX], *what[ALERTS_MAX]; /* of what is broken */
	int n;
};

/* ---- alerts ---- */

/* Collected first: rows are read while nothing else is asked of Postgres. */
struct open_scopes {
	char **v;
	int n;
};

static void see_open(const char *scope, void *arg)
{
	struct open_scopes *o = arg;

	o->v = mem_realloc(o->v, (size_t)(o->n + 1) * sizeof(*o->v));
	o->v[o->n++] = mem_strdup(scope);
}

static bool is_of(const char *scope, const char *partner)
{
	size_t n = strlen(partner);

	return strncmp(scope, "partner:", 8) == 0 && strncmp(scope + 8, partner, n) == 0 &&
	       scope[8 + n] == ' ';
}

static bool is_broken(const struct looking *l, const char *scope)
{
	for (int i = 0; i < l->n; i++)
		if (strcmp(l->scope[i], scope) == 0)
			return true;
	return false;
}

/* Nobody looks any more: its manifest names nothing now, or it is gone. */
static bool is_unwatched(const struct scheduler *s, const char *scope)
{
	for (int i = 0; i < driver_set_count(s->drivers); i++) {
		const struct manifest *m = driver_at(s->drivers, i)->manifest;

		if (m->n_daily && is_of(scope, m->partner))
			return false;
	}
	return true;
}

static void resolve(struct scheduler *s, const char *scope)
{
	struct err err = { 0 };

	if (alert_resolve(s->pg, KIND, scope, &err) < 0)
		log_event(LOG_WARN, "alert_not_resolved", LS("kind", KIND), LS("scope", scope),
			  LS("reason", err.text));
}

/* l->driver NULL: what nobody watches; else what is not broken at its partner any more. */
__attribute__((noinline)) static void resolve_over(struct looking *l)
{
	const char *partner = l->driver ? l->driver->manifest->partner : NULL;
	struct open_scopes o = { 0 };
	struct err err = { 0 };

	if (alert_each_open(l->s->pg, KIND, see_open, &o, &err) < 0)
		log_event(LOG_WARN, "alerts_not_read", LS("kind", KIND), LS("reason", err.text));
	for (int i = 0; i < o.n; i++) {
		if (partner ? is_of(o.v[i], partner) && !is_broken(l, o.v[i])
			    : is_unwatched(l->s, o.v[i]))
			resolve(l->s, o.v[i]);
		free(o.v[i]);
	}
	free(o.v);
}

static void raise_all(const struct looking *l, int64_t integration)
{
	const struct manifest *m = l->driver->manifest;
	char *todo = mem_printf("`longshore driver check %s --live --integration %lld` says more; "
				"compare with %s, and record its cassettes anew",
				m->partner, (long long)integration, m->path);

	for (int i = 0; i < l->n; i++) {
		struct err err = { 0 };

		if (alert_raise(l->s->pg, KIND, m->critical ? "critical" : "warning", l->scope[i],
				l->what[i], todo, &err) < 0)
			log_event(LOG_WARN, "alert_not_raised", LS("kind", KIND),
				  LS("scope", l->scope[i]), LS("reason", err.text));
	}
	free(todo);
}

/* ---- what was found ---- */

static const char *endpoint_of(const struct manifest_collection *c)
{
	return c->post ? c->post : c->get ? c->get : c->name;
}

static void find(struct looking *l, const char *of, const cJSON *problem)
{
	const struct manifest *m = l->driver->manifest;
	const char *path = json_str(problem, "path"), *text = json_str(problem, "text");
	char *scope = mem_printf("partner:%s %s %s", m->partner, of, path ? path : "?");

	if (l->n == ALERTS_MAX || is_broken(l, scope)) {
		free(scope);
		return;
	}
	l->scope[l->n] = scope;
	l->what[l->n++] = mem_printf("%s is not what its driver takes it for: %s, %s: %s", m->title,
				     of, path ? path : "?", text ? text : "?");
}

/* An outage is no change of what was agreed. */
static bool is_passing(const cJSON *problem)
{
	const char *class = json_str(problem, "class");

	return class && (strcmp(class, err_class_name(ERR_TRANSIENT)) == 0 ||
			 strcmp(class, err_class_name(ERR_RATE_LIMIT)) == 0);
}

/* -EAGAIN: it could not be found out. */
static int find_all(struct looking *l, const struct manifest_collection *c, const cJSON *steps,
		    struct err *err)
{
	const cJSON *s, *p;

	cJSON_ArrayForEach (s, steps) {
		const char *what = json_str(s, "what");
		const char *of = strncmp(what, "schema of ", 10) == 0 ? endpoint_of(c) : what;

		cJSON_ArrayForEach (p, cJSON_GetObjectItemCaseSensitive(s, "problems")) {
			if (is_passing(p))
				return err_set(err, -EAGAIN, ERR_TRANSIENT, "contract", "%s",
					       json_str(p, "text"));
			find(l, of, p);
		}
	}
	return 0;
}

/* ---- the check ---- */

static int check_collection(struct looking *l, struct caller *c, struct tape *t, const char *name,
			    struct err *err)
{
	const struct manifest_collection *coll = manifest_collection(c->driver->manifest, name);
	cJSON *steps = cJSON_CreateArray();
	int rc = 0;

	if (coll) /* another version of the driver need not have it */
		rc = contract_check(c, t, name, steps, err);
	if (rc > 0)
		rc = find_all(l, coll, steps, err);
	cJSON_Delete(steps);
	return rc;
}

/* With a door of its own, for a tape must see what passes. */
static int check(struct looking *l, const struct integration *i, struct err *err)
{
	const struct driver *d = driver_for(l->driver, i->id, i->settings, NULL, err);
	struct door_options o = { .redis = l->s->redis,
				  .pg = l->s->pg,
				  .keyring = l->s->keyring,
				  .permit_wait_ms = PERMIT_WAIT_MS };
	struct caller c = { .driver = d, .integration = i };
	char epoch[ID_LEN + 1];
	int rc = 0;

	if (!d)
		return -EINVAL;
	if (!l->s->keyring && d->manifest->auth.kind != AUTH_NONE)
		return err_set(err, -ENOKEY, ERR_INTERNAL, "contract",
			       "this scheduler was given no secret key");
	id_new(epoch);
	o.epoch = epoch;
	o.tape = tape_recording(redis_now_ms(l->s->redis) * 1000);
	c.door = door_new(&o);
	for (int k = 0; k < l->driver->manifest->n_daily && rc == 0; k++)
		rc = check_collection(l, &c, o.tape, l->driver->manifest->daily[k], err);
	door_free(c.door);
	tape_free(o.tape);
	return rc;
}

struct pick {
	int64_t id; /* 0: none */
	bool production;
};

/* The first of production, else the first; one that fails on purpose says nothing. */
static void see_integration(const struct integration *i, void *arg)
{
	struct pick *p = arg;
	bool production = strcmp(i->environment, "production") == 0;

	if (cJSON_GetObjectItemCaseSensitive(i->settings, "chaos"))
		return;
	if (!p->id || (production && !p->production))
		*p = (struct pick){ i->id, production };
}

/* 0: found out, -ENOENT: there is nobody to ask with. */
static int check_partner(struct looking *l, int64_t *integration, struct err *err)
{
	struct integration i = { 0 };
	struct pick pick = { 0 };
	int rc = integration_each(l->s->pg, 0, l->driver->manifest->partner, "active",
				  see_integration, &pick, err);

	if (rc == 0 && !pick.id)
		return -ENOENT;
	if (rc == 0)
		rc = integration_get(l->s->pg, pick.id, &i, err);
	if (rc == 0)
		rc = check(l, &i, err);
	integration_clear(&i);
	*integration = pick.id;
	return rc;
}

__attribute__((noinline)) static void look_at(struct looking *l, const char *role,
					      const char *owner)
{
	const char *partner = l->driver->manifest->partner;
	struct err err = { 0 };
	int64_t id = 0;
	int rc = check_partner(l, &id, &err);

	if (rc < 0 && rc != -ENOENT) {
		log_event(LOG_WARN, "contract_not_checked", LS("partner", partner),
			  LI("integration_id", id), LS("reason", err.text));
		return;
	}
	raise_all(l, id);
	resolve_over(l);
	if (rc == 0)
		log_event(l->n ? LOG_WARN : LOG_INFO, "contract_checked", LS("partner", partner),
			  LI("integration_id", id), LI("broken", l->n));
	if (rc == 0 &&
	    role_hold(l->s->redis, role, owner, DAY_MS, NULL, loop_now_ms() + STEP_MS, &err) < 0)
		log_event(LOG_WARN, "contract_checked_again", LS("partner", partner),
			  LS("reason", err.text));
}

/* A lease in Redis says that it was looked at lately: by this process, by one before a restart, or by another leader. */
__attribute__((noinline)) static void look_if_due(struct scheduler *s, const struct driver *d)
{
	struct looking *l = mem_new(struct looking);
	char *role = mem_printf("contract-%s", d->manifest->partner), owner[ID_LEN + 1];
	struct err err = { 0 };

	*l = (struct looking){ .s = s, .driver = d };
	id_new(owner);
	if (role_hold(s->redis, role, owner, AGAIN_MS, NULL, loop_now_ms() + STEP_MS, &err) == 1)
		look_at(l, role, owner);
	for (int i = 0; i < l->n; i++) {
		free(l->scope[i]);
		free(l->what[i]);
	}
	free(l);
	free(role);
}

void contracts_look(struct scheduler *s)
{
	struct looking unwatched = { .s = s };

	resolve_over(&unwatched);
	for (int i = 0; i < driver_set_count(s->drivers) && !s->stopping; i++)
		if (driver_at(s->drivers, i)->manifest->n_daily)
			look_if_due(s, driver_at(s->drivers, i));
}

static void run(void *arg)
{
	struct scheduler *s = arg;

	while (scheduler_sleep(s, LOOK_MS) == 0)
		if (leader_is_me(s) && redis_is_up(s->redis) && pg_is_up(s->pg))
			contracts_look(s);
}

int contracts_start(struct scheduler *s)
{
	return scheduler_spawn(s, "contracts", run, s);
}
