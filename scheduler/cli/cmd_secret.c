/* longshore secret: what is encrypted with which key, and everything onto the first one.  Secrets are never printed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/queue/queue.h"
#include "common/store/store.h"
#include "drivers/kit/auth.h"
#include "scheduler/cli/cli.h"

#define PAIRS "tokens in Redis, on their way to grants.sealed"

static bool force;

int options_secret_rotate_key(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "force",
					 .help = "go on although workers encrypt with another key",
					 .type = CONFIG_BOOL,
					 .out = &force };
	return 1;
}

static int load_keys(struct cli *c, struct keyring **keys)
{
	struct err err = { 0 };
	int rc = keyring_load(c->common.secret_key_file, keys, &err);

	return rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
}

struct listing {
	const struct keyring *keys;
	cJSON *rows;
	int64_t others; /* not under the first key */
};

static cJSON *row_of(const struct listing *l, const char *place, const char *key)
{
	cJSON *row;

	cJSON_ArrayForEach (row, l->rows)
		if (!strcmp(json_str(row, "place"), place) && json_str(row, "key") &&
		    !strcmp(json_str(row, "key"), key))
			return row;
	return NULL;
}

static void list_one(const char *place, const char *key, int64_t n, void *arg)
{
	struct listing *l = arg;
	bool first = strcmp(key, keyring_id(l->keys, 0)) == 0;
	cJSON *row = cJSON_CreateObject();

	json_add_text(row, "place", place);
	json_add_text(row, "key", *key ? key : NULL);
	json_add_int(row, "count", n);
	json_add_text(row, "state",
		      first                       ? "encrypts"
		      : !*key                     ? "no sealed text"
		      : keyring_has(l->keys, key) ? "old key"
						  : "key is missing");
	cJSON_AddItemToArray(l->rows, row);
	l->others += first ? 0 : n;
}

static const struct out_column columns[] = {
	{ "PLACE", "place", false },
	{ "KEY", "key", false },
	{ "COUNT", "count", true },
	{ "STATE", "state", false },
};

/* ---- pairs of tokens that wait in Redis for Postgres ---- */

struct all {
	struct integration_ref {
		int64_t id;
		char *partner;
	} * v;
	int n;
};

static void collect(const struct integration *i, void *arg)
{
	struct all *o = arg;

	if (o->n % 256 == 0)
		o->v = mem_realloc(o->v, sizeof(*o->v) * (size_t)(o->n + 256));
	o->v[o->n++] = (struct integration_ref){ i->id, mem_strdup(i->partner) };
}

static void all_clear(struct all *o)
{
	for (int i = 0; i < o->n; i++)
		free(o->v[i].partner);
	free(o->v);
}

static void list_pair(struct listing *l, const char *key)
{
	cJSON *row = row_of(l, PAIRS, key), *count;
	int64_t n = 0;

	if (!row) {
		list_one(PAIRS, key, 1, l);
		return;
	}
	count = cJSON_GetObjectItemCaseSensitive(row, "count");
	json_int(row, "count", &n);
	cJSON_SetNumberValue(count, (double)n + 1);
	l->others += strcmp(key, keyring_id(l->keys, 0)) != 0;
}

static int list_pairs(struct cli *c, struct listing *l, struct err *err)
{
	char key[CRYPTO_KEY_ID_BYTES];
	struct all all = { 0 };
	int rc = integration_each(c->pg, 0, NULL, NULL, collect, &all, err);

	for (int i = 0; i < all.n && rc == 0; i++) {
		rc = auth_pair_key(c->redis, all.v[i].partner, all.v[i].id, key, cli_deadline(),
				   err);
		if (rc == 0 && key[0])
			list_pair(l, key);
	}
	all_clear(&all);
	return rc;
}

static int list_all(struct cli *c, struct listing *l, struct err *err)
{
	int rc = sealed_count(c->pg, list_one, l, err);

	return rc < 0 ? rc : list_pairs(c, l, err);
}

int cmd_secret_list(struct cli *c)
{
	struct keyring *keys = NULL;
	struct listing l = { 0 };
	struct err err = { 0 };
	int rc = load_keys(c, &keys);

	if (rc)
		return rc;
	rc = cli_pg(c);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0) {
		l.keys = keys;
		l.rows = cJSON_CreateArray();
		rc = list_all(c, &l, &err);
		if (rc < 0) {
			cJSON_Delete(l.rows);
			rc = cli_error(c, rc, &err, "secret list");
		} else {
			rc = out_list(c, l.rows, columns, 4, "nothing is encrypted yet");
		}
	}
	keyring_free(keys);
	return rc;
}

/* ---- rotate-key ---- */

struct rotation {
	struct cli *c;
	struct keyring *keys;
	struct buf lagging; /* workers that write with another key */
	int n_lagging;
	struct rekey stored;
	struct auth_rekeyed cached;
	struct all all;
};

/* What a worker writes from now on must be under the new key, or it is left behind. */
static void look_worker(const char *epoch, int64_t last_beat_ms, const char *info_json, void *arg)
{
	struct rotation *o = arg;
	cJSON *info = NULL;
	const char *host, *key;
	int64_t pid = 0;

	if (!info_json ||
	    json_parse(info_json, strlen(info_json), FLEET_INFO_MAX_BYTES, &info, NULL) < 0)
		return;
	key = json_str(info, "keys[0]");
	host = json_str(info, "host");
	if (host && (!key || strcmp(key, keyring_id(o->keys, 0)) != 0)) {
		(void)json_int(info, "pid", &pid);
		buf_printf(&o->lagging, "%s%s pid %lld (%s)", o->n_lagging++ ? ", " : "", host,
			   (long long)pid, key ? key : "no key");
	}
	cJSON_Delete(info);
}

static int check_workers(struct rotation *o)
{
	struct err err = { 0 };
	int rc = fleet_each(o->c->redis, look_worker, o, cli_deadline(), &err);

	if (rc < 0)
		return cli_error(o->c, rc, &err, "secret rotate-key");
	if (o->n_lagging && !force)
		return cli_fail(
			o->c, EXIT_FAILED,
			"the first key here is %s, and these workers still encrypt with another one: %s. Give"
			" them the same file and a HUP, then run this again (or --force: what they write"
			" meanwhile stays under their key)",
			keyring_id(o->keys, 0), buf_str(&o->lagging));
	return 0;
}

/* To stderr: the result alone is on stdout. */
static void progress(const struct rotation *o)
{
	fprintf(stderr, "longshore: %lld re-encrypted with %s\n", (long long)o->stored.done,
		keyring_id(o->keys, 0));
}

static int rekey_stored(struct rotation *o)
{
	struct err err = { 0 };
	int64_t told = 0;
	int rc;

	do {
		rc = rekey_slice(o->c->pg, o->keys, &o->stored, &err);
		if (rc >= 0 && o->stored.done > told) {
			progress(o);
			told = o->stored.done;
		}
	} while (rc > 0);
	return rc < 0 ? cli_error(o->c, rc, &err, "secret rotate-key") : 0;
}

/* Waited for one by one: a rotation is in no hurry, and Redis serves the workers meanwhile. */
static int rekey_cached(struct rotation *o)
{
	struct err err = { 0 };
	int rc = integration_each(o->c->pg, 0, NULL, NULL, collect, &o->all, &err);

	for (int i = 0; i < o->all.n && rc == 0; i++)
		rc = auth_rekey(o->c->redis, o->c->pg, o->keys, o->all.v[i].partner, o->all.v[i].id,
				cli_deadline(), &o->cached, &err);
	return rc < 0 ? cli_error(o->c, rc, &err, "secret rotate-key") : 0;
}

static int report(struct rotation *o)
{
	struct listing l = { .keys = o->keys, .rows = cJSON_CreateArray() };
	cJSON *out = cJSON_CreateObject();
	struct err err = { 0 };
	int rc = list_all(o->c, &l, &err);

	if (rc < 0) {
		cJSON_Delete(out);
		cJSON_Delete(l.rows);
		return cli_error(o->c, rc, &err, "secret rotate-key");
	}
	json_add_text(out, "key", keyring_id(o->keys, 0));
	json_add_int(out, "re_encrypted", o->stored.done);
	json_add_int(out, "tokens_in_redis", o->cached.tokens);
	json_add_int(out, "pairs_in_redis", o->cached.pairs);
	json_add_int(out, "caches_dropped", o->cached.dropped);
	json_add_int(out, "left", l.others);
	cJSON_AddItemToObject(out, "places", l.rows);
	out_object(o->c, out);
	if (o->stored.closed)
		return cli_fail(
			o->c, EXIT_FAILED,
			"%lld texts do not open, that of integration %lld first: %s. Keep every key that"
			" `longshore secret list` shows, or store those credentials anew",
			(long long)o->stored.closed, (long long)o->stored.closed_first,
			o->stored.closed_rc == -ENOKEY ? "their key is not in the file"
						       : "they are damaged");
	if (l.others)
		return cli_fail(
			o->c, EXIT_FAILED,
			"%lld texts were written under another key meanwhile: run this again",
			(long long)l.others);
	return EXIT_OK;
}

static void rotation_clear(struct rotation *o)
{
	all_clear(&o->all);
	buf_clear(&o->lagging);
	keyring_free(o->keys);
}

int cmd_secret_rotate_key(struct cli *c)
{
	struct rotation o = { .c = c };
	int rc = load_keys(c, &o.keys);

	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0)
		rc = check_workers(&o);
	if (rc == 0)
		rc = rekey_stored(&o);
	if (rc == 0)
		rc = rekey_cached(&o);
	if (rc == 0)
		rc = report(&o);
	rotation_clear(&o);
	return rc;
}
