#include "scheduler/webhook_known.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"

#define BUCKETS 4096
#define SETTINGS_BYTES (256 * 1024)
#define FAILED_MS \
	5000 /* after Postgres did not answer what is known goes for so long without another try */
#define ANEW_MS 1000
#define DOWN_MS 500 /* the same for a Postgres that has no connection now */

struct waiter {
	struct waiter *next;
	known_fn fn;
	void *arg;
};

struct entry {
	struct known k;       /* first */
	struct entry *next;   /* in its bucket */
	struct entry *behind; /* in the row of those to be loaded */
	enum known_kind kind;
	char *key, *partner, *setting, *value;
	bool there, in_row, loading;
	bool fresh; /* while it is loaded: what was known before is gone */
	int64_t loaded_ms, failed_ms, used_ms; /* 0: never */
	struct waiter *waiters, **waiters_tail;
};

static struct {
	struct scheduler *s;
	struct entry *buckets[BUCKETS];
	int n;
	unsigned hand; /* where eviction looks next */
	struct entry *row, **row_tail;
	struct co *loader; /* NULL: not yet, or no more: nothing is told but what is known */
} known;

/* ---- entries ---- */

static void key_print(const struct known_key *k, struct buf *out)
{
	if (k->kind == KNOWN_INTEGRATION)
		buf_putint(out, k->id);
	else if (k->kind == KNOWN_APP)
		buf_printf(out, "@%s", k->partner);
	else
		buf_printf(out, "%s\n%s\n%s", k->partner, k->setting, k->value);
}

static struct entry **bucket_of(const char *key)
{
	return &known.buckets[crypto_hash64(key, strlen(key), 1) % BUCKETS];
}

static struct entry *find(const char *key)
{
	struct entry *e = *bucket_of(key);

	while (e && strcmp(e->key, key) != 0)
		e = e->next;
	return e;
}

/* What was known of it. */
static void forget(struct entry *e)
{
	verify_secrets_clear(&e->k.secrets);
	for (int i = 0; i < e->k.n_credentials; i++)
		secret_clear(&e->k.credentials[i]);
	free(e->k.ids);
	e->k = (struct known){ 0 };
	e->there = false;
}

static void entry_free(struct entry *e)
{
	forget(e);
	free(e->key);
	free(e->partner);
	free(e->setting);
	free(e->value);
	free(e);
}

static bool is_in_use(const struct entry *e)
{
	return e->in_row || e->loading || e->waiters;
}

/* Goes round the table and drops what nobody has used for a while; where all are in use lately, whatever comes. */
static void make_room(void)
{
	int64_t old = loop_now_ms() - KNOWN_STALE_MS;

	for (int pass = 0; known.n >= KNOWN_MAX && pass < 2 * BUCKETS; pass++) {
		struct entry **at = &known.buckets[known.hand++ % BUCKETS];

		while (*at) {
			struct entry *e = *at;

			if (is_in_use(e) || (e->there && e->used_ms > old && pass < BUCKETS)) {
				at = &e->next;
				continue;
			}
			*at = e->next;
			entry_free(e);
			known.n--;
		}
	}
}

static struct entry *entry_of(const struct known_key *k)
{
	struct buf key = BUF_INIT;
	struct entry *e, **at;

	key_print(k, &key);
	e = find(key.data);
	if (!e) {
		make_room();
		e = mem_new(struct entry);
		e->kind = k->kind;
		e->k.id = k->id;
		e->waiters_tail = &e->waiters;
		e->key = buf_detach(&key);
		e->partner = k->partner ? mem_strdup(k->partner) : NULL;
		e->setting = k->setting ? mem_strdup(k->setting) : NULL;
		e->value = k->value ? mem_strdup(k->value) : NULL;
		at = bucket_of(e->key);
		e->next = *at;
		*at = e;
		known.n++;
	}
	buf_clear(&key);
	return e;
}

/* ---- asking ---- */

static void tell(struct entry *e, bool answered)
{
	bool old = e->there && loop_now_ms() - e->loaded_ms <= KNOWN_KEPT_MS;
	int rc = e->there && (answered || old) ? 0 : answered ? -ENOENT : -EAGAIN;

	while (e->waiters) {
		struct waiter *w = e->waiters;

		e->waiters = w->next;
		if (!e->waiters)
			e->waiters_tail = &e->waiters;
		w->fn(rc, rc == 0 ? &e->k : NULL, w->arg);
		free(w);
	}
}

static void load_soon(struct entry *e)
{
	if (e->in_row || e->loading)
		return;
	e->in_row = true;
	e->behind = NULL;
	*known.row_tail = e;
	known.row_tail = &e->behind;
	if (known.loader)
		co_wake(known.loader);
}

/* Good enough as it is? */
static bool is_good(struct entry *e, bool anew)
{
	int64_t now = loop_now_ms(), age = now - e->loaded_ms;

	if (!e->loaded_ms)
		return false;
	if (e->failed_ms && now - e->failed_ms < FAILED_MS)
		return e->there && age <= KNOWN_KEPT_MS;
	if (anew)
		return age < ANEW_MS;
	return age <= (e->there ? KNOWN_STALE_MS : KNOWN_NOT_THERE_MS);
}

void known_get(const struct known_key *key, bool anew, known_fn fn, void *arg)
{
	struct entry *e = entry_of(key);
	struct waiter *w;

	e->used_ms = loop_now_ms();
	if (is_good(e, anew)) {
		if (e->there && e->used_ms - e->loaded_ms > KNOWN_FRESH_MS)
			load_soon(e);
		fn(e->there ? 0 : -ENOENT, e->there ? &e->k : NULL, arg);
		return;
	}
	if (!known.loader || (e->failed_ms && e->used_ms - e->failed_ms < FAILED_MS)) {
		fn(-EAGAIN, NULL, arg);
		return;
	}
	w = mem_new(struct waiter);
	w->fn = fn;
	w->arg = arg;
	*e->waiters_tail = w;
	e->waiters_tail = &w->next;
	load_soon(e);
}

/* ---- loading ---- */

static void add_secrets(struct entry *e, int64_t id, const char *sealed, bool needed)
{
	const struct manifest *m = e->k.driver->manifest;
	struct secret json = SECRET_INIT;
	int rc = sealed ? receiver_open(known.s->keyring, id, sealed, &json) : 0;

	if (sealed && rc == 0 && !m->hooks.verify_webhook)
		rc = verify_secrets_read(&e->k.secrets, m->webhooks.verify.key, &json);
	else if (sealed && rc == 0 && e->k.n_credentials < KNOWN_CREDENTIALS_MAX)
		secret_set(&e->k.credentials[e->k.n_credentials++], secret_reveal(&json), json.len);
	if (rc < 0 && needed) {
		log_event(LOG_ERROR, "webhook_secret_unreadable", LI("integration_id", id),
			  LS("reason", rc == -ENOKEY ? "no key that opens its credentials is in"
						       " LONGSHORE_SECRET_KEY_FILE"
						     : "its credentials were altered"));
		e->k.unreadable = true;
	}
	secret_clear(&json);
}

static const struct driver *driver_of(const struct receiver *r)
{
	const struct driver *d = driver_find(known.s->drivers, r->partner), *version;
	cJSON *settings = NULL;

	if (d && d->manifest->n_adapters && r->settings &&
	    json_parse(r->settings, strlen(r->settings), SETTINGS_BYTES, &settings, NULL) == 0) {
		version = driver_for(d, r->id, settings, NULL, NULL);
		d = version ? version : d;
	}
	cJSON_Delete(settings);
	return d;
}

/* Called once Postgres has answered: until then what was known stands. */
static void take(struct entry *e, const struct receiver *r)
{
	if (!e->fresh)
		forget(e);
	e->fresh = true;
	if (e->kind == KNOWN_WHOSE) {
		if (!e->k.ids)
			e->k.ids = mem_alloc(RECEIVERS_SHARED * sizeof(*e->k.ids));
		if (e->k.n_ids < RECEIVERS_SHARED)
			e->k.ids[e->k.n_ids++] = r->id;
		e->there = true;
		return;
	}
	if (!e->there) {
		e->k.id = r->id;
		e->k.driver = driver_of(r);
		e->there =
			e->k.driver != NULL; /* a partner without a driver here takes nothing in */
	}
	if (e->there) {
		add_secrets(e, r->id, r->sealed, true);
		add_secrets(e, r->id, r->previous, false);
	}
}

static void on_one(const struct receiver *r, void *arg)
{
	take(arg, r);
}

static void on_each(const struct receiver *r, void *arg)
{
	struct entry *e;
	char key[24];

	snprintf(key, sizeof(key), "%lld", (long long)r->id);
	e = find(key);
	if (e && e->loading)
		take(e, r);
}

static int load(struct entry **v, int n, struct err *err)
{
	static int64_t ids[RECEIVERS_AT_ONCE];
	struct pg *pg = known.s->pg;
	int64_t deadline = loop_now_ms() + (pg_is_up(pg) ? KNOWN_WAIT_MS : DOWN_MS);
	struct entry *e = v[0];

	if (e->kind == KNOWN_APP)
		return receivers_of_app(pg, e->partner, on_one, e, deadline, err);
	if (e->kind == KNOWN_WHOSE)
		return receivers_with(pg, e->partner, e->setting, e->value, on_one, e, deadline,
				      err);
	for (int i = 0; i < n; i++)
		ids[i] = strtoll(v[i]->key, NULL, 10);
	return receivers_by_id(pg, ids, n, on_each, NULL, deadline, err);
}

/* The first of the row; with an integration all others of the row that are such. */
static int take_from_row(struct entry **v)
{
	struct entry **at = &known.row;
	int n = 0;

	while (*at && n < RECEIVERS_AT_ONCE) {
		struct entry *e = *at;

		if (n > 0 && (v[0]->kind != KNOWN_INTEGRATION || e->kind != KNOWN_INTEGRATION)) {
			at = &e->behind;
			continue;
		}
		*at = e->behind;
		e->in_row = false;
		e->loading = true;
		v[n++] = e;
	}
	for (at = &known.row; *at;)
		at = &(*at)->behind;
	known.row_tail = at;
	return n;
}

static void loaded(struct entry *e, bool answered)
{
	e->loading = false;
	if (answered && !e->fresh)
		forget(e);
	e->fresh = false;
	if (answered) {
		e->loaded_ms = loop_now_ms();
		e->failed_ms = 0;
	} else {
		e->failed_ms = loop_now_ms();
	}
	tell(e, answered);
}

static void load_row(void)
{
	static struct entry *v[RECEIVERS_AT_ONCE];
	int n = take_from_row(v);
	struct err err = { 0 };
	int rc = load(v, n, &err);

	if (rc < 0 && rc != -ECANCELED)
		log_event(LOG_WARN, "webhook_integrations_unknown", LI("integrations", n),
			  LS("reason", err.text));
	for (int i = 0; i < n; i++)
		loaded(v[i], rc == 0);
}

static void loader(void *arg)
{
	known.loader = co_self();
	for (;;) {
		if (known.row)
			load_row();
		else if (co_wait("webhooks", CO_NO_DEADLINE) < 0)
			break;
	}
	known.loader = NULL;
	while (known.row) {
		struct entry *e = known.row;

		known.row = e->behind;
		e->in_row = false;
		tell(e, false);
	}
	known.row_tail = &known.row;
}

int known_start(struct scheduler *s)
{
	known.s = s;
	known.row_tail = &known.row;
	return co_spawn("webhooks", loader, s) ? 0 : -ENOMEM;
}

void known_stop(int64_t deadline_ms)
{
	if (known.loader)
		co_cancel(known.loader);
	while (known.loader && loop_now_ms() < deadline_ms)
		if (co_sleep("stopping", 5) < 0)
			break;
}

void known_free(void)
{
	for (int i = 0; i < BUCKETS; i++) {
		while (known.buckets[i]) {
			struct entry *e = known.buckets[i];

			known.buckets[i] = e->next;
			entry_free(e);
		}
	}
	known.n = 0;
}
