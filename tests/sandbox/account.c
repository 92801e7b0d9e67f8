#include "tests/sandbox/account.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/mem.h"

#define BUCKETS 4096
#define ACCOUNT_MAX 1000000

struct accounts {
	struct content_plan plan;
	struct account_limits limits;
	struct account *bucket[BUCKETS];
};

struct accounts *accounts_new(const struct content_plan *plan, const struct account_limits *limits)
{
	struct accounts *a = mem_new(struct accounts);

	a->plan = *plan;
	a->limits = *limits;
	return a;
}

static void account_set_limits(struct account *account, const struct account_limits *limits)
{
	account_reset_limits(account);
	account->n_tiers = limits->n_tiers;
	for (int i = 0; i < limits->n_tiers; i++) {
		window_init(&account->served[i], limits->tiers[i]);
		window_init(&account->seen[i], limits->tiers[i]);
	}
	window_init(&account->mints, limits->mints);
}

void account_reset_limits(struct account *account)
{
	for (int i = 0; i < account->n_tiers; i++) {
		window_clear(&account->served[i]);
		window_clear(&account->seen[i]);
	}
	window_clear(&account->mints);
	account->minted = 0;
	account->refused = 0;
	account->most_in_flight = account->in_flight;
}

static void account_free(struct account *account)
{
	account_empty(account);
	account_reset_limits(account);
	free(account->tokens);
	free(account);
}

void accounts_free(struct accounts *a)
{
	struct account *next;

	if (!a)
		return;
	for (int i = 0; i < BUCKETS; i++) {
		for (struct account *account = a->bucket[i]; account; account = next) {
			next = account->next;
			account_free(account);
		}
	}
	free(a);
}

struct account *accounts_get(struct accounts *a, int number)
{
	struct account **bucket, *account;

	if (number < 1 || number > ACCOUNT_MAX)
		return NULL;
	bucket = &a->bucket[number % BUCKETS];
	for (account = *bucket; account; account = account->next)
		if (account->number == number)
			return account;
	account = mem_new(struct account);
	account->number = number;
	account_set_limits(account, &a->limits);
	account->next = *bucket;
	*bucket = account;
	return account;
}

int account_number(const char *client_id)
{
	char *end;
	long n;

	if (!client_id || strncmp(client_id, "acct-", 5) != 0)
		return 0;
	n = strtol(client_id + 5, &end, 10);
	return *end == '\0' && n >= 1 && n <= ACCOUNT_MAX ? (int)n : 0;
}

/* A token reads sbx-NUMBER-RANDOM, so that it says whose it is without a search. */
struct account *accounts_by_token(struct accounts *a, const char *token)
{
	char *end;
	long n;

	if (strncmp(token, "sbx-", 4) != 0)
		return NULL;
	n = strtol(token + 4, &end, 10);
	return *end == '-' && n <= ACCOUNT_MAX ? accounts_get(a, (int)n) : NULL;
}

void accounts_each(struct accounts *a, void (*fn)(struct account *account, void *arg), void *arg)
{
	for (int i = 0; i < BUCKETS; i++)
		for (struct account *account = a->bucket[i]; account; account = account->next)
			fn(account, arg);
}

void accounts_set_limits(struct accounts *a, const struct account_limits *limits)
{
	a->limits = *limits;
	for (int i = 0; i < BUCKETS; i++)
		for (struct account *account = a->bucket[i]; account; account = account->next)
			account_set_limits(account, limits);
}

const struct account_limits *accounts_limits(const struct accounts *a)
{
	return &a->limits;
}

void account_fill(struct accounts *a, struct account *account)
{
	if (account->filled)
		return;
	collection_fill(&account->listings, &a->plan, account->number, "listing");
	collection_fill(&account->reservations, &a->plan, account->number, "reservation");
	account->filled = true;
}

void account_empty(struct account *account)
{
	collection_clear(&account->listings);
	collection_clear(&account->reservations);
	account->filled = false;
}

const struct token *account_mint(struct accounts *a, struct account *account, int64_t now_us,
				 int64_t *wait_us)
{
	struct token *t;
	char random[ID_LEN + 1], more[ID_LEN + 1];

	if (wait_us && a->limits.mints.limit) {
		*wait_us = window_wait_us(&account->mints, now_us);
		if (*wait_us > 0)
			return NULL;
		window_add(&account->mints, now_us);
	}
	id_new(random);
	id_new(more);
	account->minted++;
	account->tokens = mem_realloc(account->tokens,
				      (size_t)(account->n_tokens + 1) * sizeof(*account->tokens));
	t = &account->tokens[account->n_tokens++];
	snprintf(t->text, sizeof(t->text), "sbx-%d-%s%s", account->number, random, more);
	t->minted_us = now_us;
	t->expires_us = now_us + a->limits.token_life_us;
	return t;
}

const struct token *account_token(const struct account *account, const char *text)
{
	for (int i = 0; i < account->n_tokens; i++)
		if (strcmp(account->tokens[i].text, text) == 0)
			return &account->tokens[i];
	return NULL;
}

bool account_revoke(struct account *account, const char *text)
{
	const struct token *t = account_token(account, text);

	if (!t)
		return false;
	account->tokens[t - account->tokens] = account->tokens[--account->n_tokens];
	return true;
}

bool account_token_is_valid(const struct account *account, const char *token, int64_t now_us)
{
	const struct token *t = account_token(account, token);

	return t && now_us < t->expires_us;
}

int64_t account_admit(struct accounts *a, struct account *account, int64_t now_us)
{
	int64_t wait = 0;

	for (int i = 0; i < account->n_tiers; i++) {
		int64_t w = window_wait_us(&account->served[i], now_us);

		window_add(&account->seen[i], now_us);
		if (w > wait)
			wait = w;
	}
	if (a->limits.in_flight && account->in_flight >= a->limits.in_flight && wait == 0)
		wait = 1;
	if (wait > 0) {
		account->refused++;
		return wait;
	}
	for (int i = 0; i < account->n_tiers; i++)
		window_add(&account->served[i], now_us);
	return 0;
}
