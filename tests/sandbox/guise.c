#include "tests/sandbox/guise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define IDS_OF_ACCOUNT 10000000LL
#define POSITION_MASK 0x7fffff
#define OF_RESERVATION 0x800000

int64_t guise_id(int account, const char *guesty_id)
{
	char digits[7] = "";
	long n;

	if (guesty_id && strlen(guesty_id) > 12)
		memcpy(digits, guesty_id + 6, 6);
	n = strtol(digits, NULL, 16);
	return account * IDS_OF_ACCOUNT + (n & OF_RESERVATION ? IDS_OF_ACCOUNT / 2 : 0) + 1 +
	       (n & POSITION_MASK) % (IDS_OF_ACCOUNT / 2 - 1);
}

const struct item *guise_find(const struct collection *c, int account, const char *id)
{
	int64_t wanted = strtoll(id, NULL, 10);

	for (int i = 0; i < c->n; i++)
		if (guise_id(account, json_str(c->v[i].tree, "_id")) == wanted)
			return &c->v[i];
	return NULL;
}

void guise_time(const cJSON *tree, const char *key, char out[GUISE_TIME_MAX])
{
	const char *iso = json_str(tree, key);

	out[0] = '\0';
	if (!iso || strlen(iso) < 19)
		return;
	snprintf(out, GUISE_TIME_MAX, "%.10s %.8s", iso, iso + 11);
}

const char *guise_country(const char *name)
{
	static const char *const codes[][2] = {
		{ "Portugal", "PT" },      { "Spain", "ES" },     { "France", "FR" },
		{ "Switzerland", "CH" },   { "Denmark", "DK" },   { "Iceland", "IS" },
		{ "Poland", "PL" },        { "Greece", "GR" },    { "United Kingdom", "GB" },
		{ "United States", "US" }, { "Canada", "CA" },    { "Mexico", "MX" },
		{ "Brazil", "BR" },        { "Argentina", "AR" }, { "South Africa", "ZA" },
		{ "Morocco", "MA" },       { "Kuwait", "KW" },    { "Nepal", "NP" },
		{ "Japan", "JP" },         { "Thailand", "TH" },  { "Australia", "AU" },
	};

	for (size_t i = 0; name && i < ARRAY_LEN(codes); i++)
		if (strcmp(codes[i][0], name) == 0)
			return codes[i][1];
	return NULL;
}

void guise_copy(cJSON *to, const char *key, const cJSON *from, const char *path)
{
	const cJSON *v = json_path(from, path);

	cJSON_AddItemToObject(to, key, v ? cJSON_Duplicate(v, true) : cJSON_CreateNull());
}

cJSON *guise_text(const char *s)
{
	return s ? cJSON_CreateString(s) : cJSON_CreateNull();
}

int guise_number(const struct httpd_request *q, const char *name, int fallback, int most)
{
	const char *text = httpd_query(q, name);
	long n = text && *text ? strtol(text, NULL, 10) : fallback;

	return n < 0 ? fallback : n > most ? most : (int)n;
}

static struct window *quota_of(struct quota *q, int account)
{
	struct quota_of *of = q->first;

	while (of && of->account != account)
		of = of->next;
	if (!of) {
		of = mem_new(struct quota_of);
		of->account = account;
		window_init(&of->served, q->tier);
		of->next = q->first;
		q->first = of;
	}
	return &of->served;
}

int64_t quota_admit(struct quota *q, const struct exchange *x)
{
	struct window *w = quota_of(q, x->account ? x->account->number : 0);
	int64_t wait_us = window_wait_us(w, x->arrived_us);

	if (accounts_limits(x->sandbox->accounts)->n_tiers == 0)
		return 0;
	if (wait_us > 0) {
		if (x->account)
			x->account->refused++;
		return wait_us;
	}
	window_add(w, x->arrived_us);
	return 0;
}

void quota_free(struct quota *q)
{
	struct quota_of *next;

	for (struct quota_of *of = q->first; of; of = next) {
		next = of->next;
		window_clear(&of->served);
		free(of);
	}
	q->first = NULL;
}
