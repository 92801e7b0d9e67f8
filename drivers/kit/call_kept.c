#include "drivers/kit/call_kept.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/queue/cache.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/lookup_parts.h"

#define REDIS_MS 5000
#define LEASE_MS 60000
#define PAUSE_MS 50

struct keeping {
	struct caller *c;
	const char *name;
	struct cache_key key;
	char owner[ID_LEN + 1];
	int64_t ttl_ms, until_ms; /* until: it waits for another's answer */
};

/* Of this integration alone: what a partner shows may differ from account to account. */
static void name_it(struct keeping *k, const struct call_spec *spec)
{
	struct buf what = BUF_INIT, host = BUF_INIT;

	buf_printf(&what, "%lld\n", (long long)k->c->integration->id);
	call_base_url(k->c->driver, k->c->integration, &what);
	buf_puts(&what, spec->path);
	for (int i = 0; i < spec->n_query; i++)
		buf_printf(&what, "\n%s=%s", spec->query[i].name, spec->query[i].value);
	call_host(k->c->driver, k->c->integration, &host);
	cache_key_of(k->c->driver->manifest->partner, buf_str(&host), k->name, what.data, what.len,
		     &k->key);
	buf_clear(&what);
	buf_clear(&host);
}

/* -EBADMSG: it is to be asked for after all. */
static int take(struct keeping *k, const struct cache_entry *e, struct call_result *r)
{
	int64_t left = budget_left(k->c->memory);
	size_t tree = 0;

	if (e->kind != CACHE_DATA ||
	    json_parse_within(e->text.data, e->text.len, CACHE_MAX_BYTES,
			      left > 0 ? (size_t)left : 0, &tree, &r->json, NULL) < 0)
		return -EBADMSG;
	r->memory = k->c->memory;
	if (budget_take(r->memory, (int64_t)tree))
		r->tree_bytes = (uint32_t)tree;
	r->observed_us = e->sent_ms * 1000;
	return 0;
}

static void keep(struct keeping *k, const struct call_result *r)
{
	struct cache_life life = { .ttl_ms = k->ttl_ms };
	struct redis *redis = k->c->door->redis;
	struct buf text = BUF_INIT;
	struct err err = { 0 };

	if (r->json)
		json_print(r->json, &text);
	if (!r->json || text.len > CACHE_MAX_BYTES ||
	    cache_put(redis, &k->key, k->owner, CACHE_DATA, text.data, text.len,
		      r->observed_us / 1000, &life, loop_now_ms() + REDIS_MS, &err) < 0)
		cache_leave(redis, &k->key, k->owner);
	buf_clear(&text);
}

/* 1: somebody else is asking, look again. 0: in r.  -ENODATA: ask; *mine: and keep it. */
static int look(struct keeping *k, struct call_result *r, bool *mine, struct err *err)
{
	struct cache_look look;
	int rc = cache_look(k->c->door->redis, &k->key, k->owner, LEASE_MS, false, &look,
			    loop_now_ms() + REDIS_MS, err);

	if (rc < 0)
		return rc;
	*mine = look.state == CACHE_MINE;
	rc = -ENODATA;
	if (look.state == CACHE_FRESH && take(k, &look.entry, r) == 0)
		rc = 0;
	else if (look.state == CACHE_WAIT && loop_now_ms() < k->until_ms)
		rc = flight_wait(k->key.entry, PAUSE_MS, k->until_ms);
	if (look.state == CACHE_WAIT && rc == 0)
		rc = 1;
	cache_look_clear(&look);
	return rc;
}

static int ask(struct keeping *k, const struct call_spec *spec, bool mine, struct call_result *r,
	       struct err *err)
{
	struct flight flight;
	int rc;

	if (!mine)
		return call(k->c, spec, r, err);
	flight_begin(&flight, k->key.entry);
	rc = call(k->c, spec, r, err);
	if (rc == 0)
		keep(k, r);
	else
		cache_leave(k->c->door->redis, &k->key, k->owner);
	flight_end(&flight);
	return rc;
}

int call_kept(struct caller *c, const struct call_spec *spec, const char *name, int64_t ttl_ms,
	      struct call_result *r, struct err *err)
{
	struct keeping k = { .c = c,
			     .name = name,
			     .ttl_ms = ttl_ms,
			     .until_ms = loop_now_ms() + c->driver->manifest->total_ms };
	bool mine = false;
	int rc;

	call_result_init(r);
	id_new(k.owner);
	name_it(&k, spec);
	do {
		rc = look(&k, r, &mine, err);
	} while (rc == 1);
	return rc == -ENODATA ? ask(&k, spec, mine, r, err) : rc;
}
