#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/queue/limit_impl.h"

#define AGENT_IDLE_MS (10 * 60 * 1000)
#define OLD_MAX_US (1000 * 1000)
#define SWEEP_MS (60 * 1000)
#define SIGNATURE_MAX (PARTNER_MAX + LIMIT_SCOPES_MAX * 261 + 32)

static void agent_keys(struct limit_agent *a)
{
	static const char *const suffix[] = { "", ":flight", ":hold", ":run", ":sum", ":set" };
	static const char *const row[LIMIT_ROW_KEYS] = { "turn", "due" };

	a->since = mem_printf("limit:{%s}:since", a->partner);
	a->gone = mem_printf("limit:{%s}:gone", a->partner);
	for (int i = 0; i < a->n_scopes; i++) {
		for (int k = 0; k < LIMIT_KEYS; k++)
			a->keys[i][k] = mem_printf("limit:{%s}:%s%s", a->partner, a->scopes[i].name,
						   suffix[k]);
		for (int k = 0; a->scopes[i].shared && k < LIMIT_ROW_KEYS; k++)
			a->row_keys[i][k] =
				mem_printf("limit:{%s}:%s:%s%s", a->partner, a->scopes[i].name,
					   row[k], a->high ? ":high" : "");
	}
}

void agent_free(struct limit_agent *a)
{
	if (a->call)
		a->call->agent = NULL;
	for (int i = 0; i < a->n_scopes; i++) {
		for (int k = 0; k < LIMIT_KEYS; k++)
			free(a->keys[i][k]);
		for (int k = 0; k < LIMIT_ROW_KEYS; k++)
			free(a->row_keys[i][k]);
	}
	limit_unground(a);
	loop_timer_free(a->timer);
	buf_clear(&a->amends.ops);
	buf_clear(&a->amends.text);
	free(a->since);
	free(a->gone);
	free(a->signature);
	free(a);
}

static bool agent_is_idle(const struct limit_agent *a, int64_t now_ms)
{
	return !a->first && !a->call && !a->permits && !a->dirty &&
	       now_ms - a->used_ms > AGENT_IDLE_MS;
}

/* 20,000 integrations come and go: those unused for long are forgotten here; Redis remembers. */
static void sweep(struct limiter *l)
{
	int64_t now_ms = loop_now_ms();

	if (now_ms - l->swept_ms < SWEEP_MS)
		return;
	l->swept_ms = now_ms;
	for (int i = 0; i < LIMIT_BUCKETS; i++) {
		for (struct limit_agent **p = &l->buckets[i]; *p;) {
			struct limit_agent *a = *p;

			if (agent_is_idle(a, now_ms)) {
				*p = a->next;
				agent_free(a);
			} else {
				p = &a->next;
			}
		}
	}
}

static void on_timer(void *arg)
{
	struct limit_agent *a = arg;

	a->next_ms = 0;
	agent_ask(a);
}

/* A permit that is older when its call goes out might leave a window before it. */
static int64_t old_us_of(const struct limit_agent *a)
{
	int64_t most = OLD_MAX_US, tiers = 0;

	for (int i = 0; i < a->n_scopes; i++) {
		for (int k = 0; k < a->scopes[i].n_tiers; k++) {
			int64_t half = a->scopes[i].tiers[k].window_ms * 1000 / 2;

			tiers++;
			if (half < most)
				most = half;
		}
	}
	return tiers ? most : INT64_MAX / 2;
}

static void agent_scopes(struct limit_agent *a, const struct limit_set *set)
{
	memcpy(a->scopes, set->scopes, sizeof(set->scopes[0]) * (size_t)set->n_scopes);
	a->old_us = old_us_of(a);
}

static struct limit_agent *agent_new(struct limiter *l, const struct limit_set *set,
				     const char *signature)
{
	struct limit_agent *a = mem_new(struct limit_agent);

	a->limiter = l;
	a->signature = mem_strdup(signature);
	snprintf(a->partner, sizeof(a->partner), "%s", set->partner);
	a->n_scopes = set->n_scopes;
	a->high = set->high;
	snprintf(a->who, sizeof(a->who), "i%lld", (long long)set->who);
	agent_scopes(a, set);
	agent_keys(a);
	a->timer = loop_timer_new(on_timer, a);
	return a;
}

/* Calls of another weight stand in a row of their own: a script asks for permits of one price. */
static int scope_sign(const struct limit_scope *s, char *out, size_t room)
{
	int n = snprintf(out, room, "\n%s", s->name);

	for (int k = 0; k < s->n_tiers; k++) {
		if (s->tiers[k].units > 1)
			n += snprintf(out + n, room - (size_t)n, " %lld",
				      (long long)s->tiers[k].units);
	}
	return n;
}

struct limit_agent *agent_of(struct limiter *l, const struct limit_set *set)
{
	char signature[SIGNATURE_MAX];
	int n = snprintf(signature, sizeof(signature), "%s%s i%lld", set->partner,
			 set->high ? "\nhigh" : "", (long long)set->who);

	for (int i = 0; i < set->n_scopes; i++)
		n += scope_sign(&set->scopes[i], signature + n, sizeof(signature) - (size_t)n);
	struct limit_agent **bucket =
		&l->buckets[crypto_hash64(signature, (size_t)n, 0) % LIMIT_BUCKETS];
	for (struct limit_agent *a = *bucket; a; a = a->next) {
		if (strcmp(a->signature, signature) == 0) {
			/* A manifest that was read anew may have other tiers for the same keys. */
			agent_scopes(a, set);
			return a;
		}
	}
	sweep(l);
	struct limit_agent *a = agent_new(l, set, signature);
	a->next = *bucket;
	*bucket = a;
	return a;
}
