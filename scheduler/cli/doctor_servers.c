/* Redis and Postgres as Longshore needs them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "scheduler/cli/doctor.h"

#define REDIS_VERSION_MIN 602 /* 6.2 */
#define POSTGRES_VERSION_MIN 140000
#define RTT_WARN_US 5000
#define OFFSET_WARN_MS 1000
#define PINGS 5

/* ---- Redis ---- */

/* A field of INFO, "" if it is not there. */
static const char *field(const char *info, const char *name, char *out, size_t cap)
{
	const char *at = info;
	size_t n = strlen(name);

	out[0] = '\0';
	while ((at = strstr(at, name))) {
		if ((at == info || at[-1] == '\n') && at[n] == ':') {
			snprintf(out, cap, "%.*s", (int)strcspn(at + n + 1, "\r\n"), at + n + 1);
			break;
		}
		at += n;
	}
	return out;
}

static void look_version(struct doctor *d, const char *info)
{
	char version[40], run[64], server[40];
	int major = 0, minor = 0;
	const char *name =
		*field(info, "valkey_version", server, sizeof(server)) ? "Valkey" : "Redis";

	field(info, "redis_version", version, sizeof(version));
	field(info, "run_id", run, sizeof(run));
	sscanf(version, "%d.%d", &major, &minor);
	doctor_say(d, major * 100 + minor >= REDIS_VERSION_MIN ? DOCTOR_OK : DOCTOR_FAIL, "redis",
		   "6.2 is the oldest that Longshore works with: upgrade",
		   "up at %s, %s %s, run_id %.12s", redis_url_shown(d->cli->redis), name,
		   *server ? server : version, run);
}

static void look_memory(struct doctor *d, const char *info)
{
	char policy[40], most[40];

	field(info, "maxmemory_policy", policy, sizeof(policy));
	field(info, "maxmemory", most, sizeof(most));
	if (strcmp(policy, "noeviction") == 0)
		doctor_say(d, DOCTOR_OK, "maxmemory-policy", NULL, "noeviction");
	else
		doctor_say(
			d, strcmp(most, "0") == 0 ? DOCTOR_WARN : DOCTOR_FAIL, "maxmemory-policy",
			"CONFIG SET maxmemory-policy noeviction, and in redis.conf: else a full Redis"
			" drops jobs",
			"%s, maxmemory %s", *policy ? policy : "not told", most);
}

/* appendfsync is not in INFO; where CONFIG is not allowed it stays unsaid. */
static void look_persistence(struct doctor *d, const char *info)
{
	redisReply *reply = NULL;
	struct err err = { 0 };
	char aof[8];

	if (strcmp(field(info, "aof_enabled", aof, sizeof(aof)), "1") != 0) {
		doctor_say(
			d, DOCTOR_WARN, "appendonly",
			"CONFIG SET appendonly yes, and in redis.conf: without it a restart loses all"
			" jobs since the last snapshot",
			"no");
		return;
	}
	if (redis_callv(d->cli->redis, &reply, cli_deadline(), &err, "CONFIG", "GET", "appendfsync",
			NULL) == 0 &&
	    reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
		const char *sync = reply->element[1]->str;

		doctor_say(d, strcmp(sync, "no") == 0 ? DOCTOR_WARN : DOCTOR_OK, "appendonly",
			   "CONFIG SET appendfsync everysec", "yes, appendfsync %s", sync);
	} else {
		doctor_say(d, DOCTOR_OK, "appendonly", NULL, "yes");
	}
	freeReplyObject(reply);
}

static int by_size(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void look_time(struct doctor *d)
{
	struct err err = { 0 };
	int64_t us[PINGS], offset;

	for (int i = 0; i < PINGS; i++) {
		int64_t from = clock_mono_us();

		if (redis_callv(d->cli->redis, NULL, cli_deadline(), &err, "PING", NULL) < 0)
			return;
		us[i] = clock_mono_us() - from;
	}
	qsort(us, PINGS, sizeof(*us), by_size);
	doctor_say(d, us[PINGS / 2] > RTT_WARN_US ? DOCTOR_WARN : DOCTOR_OK, "round trip",
		   "put Redis nearer: every claim and every settlement waits for it", "%.2f ms",
		   (double)us[PINGS / 2] / 1000);
	offset = redis_now_ms(d->cli->redis) - clock_real_ms();
	doctor_say(d, offset > OFFSET_WARN_MS || offset < -OFFSET_WARN_MS ? DOCTOR_WARN : DOCTOR_OK,
		   "clock", "let both hosts follow NTP; Longshore itself goes by Redis' clock",
		   "Redis' is %lld ms ahead of ours", (long long)offset);
}

bool doctor_redis(struct doctor *d)
{
	struct redis_options o = { .url = d->cli->common.redis_url, .client_name = "longshore" };
	struct err err = { 0 };
	redisReply *info = NULL;

	if (redis_new(&o, &d->cli->redis, &err) < 0) {
		d->cli->redis = NULL;
		doctor_say(d, DOCTOR_FAIL, "redis", "correct --redis or LONGSHORE_REDIS_URL", "%s",
			   err.text);
		return false;
	}
	if (redis_wait_up(d->cli->redis, loop_now_ms() + CLI_CONNECT_MS) < 0 ||
	    redis_callv(d->cli->redis, &info, cli_deadline(), &err, "INFO", NULL) < 0) {
		if (!*err.text &&
		    redis_callv(d->cli->redis, NULL, loop_now_ms() + 100, &err, "PING", NULL) == 0)
			snprintf(err.text, sizeof(err.text), "it answered too late");
		doctor_say(d, DOCTOR_FAIL, "redis",
			   "start it, or name another with --redis or LONGSHORE_REDIS_URL",
			   "%s: %s", redis_url_shown(d->cli->redis), err.text);
		return false;
	}
	look_version(d, info->str);
	look_memory(d, info->str);
	look_persistence(d, info->str);
	freeReplyObject(info);
	look_time(d);
	return true;
}

/* ---- Postgres ---- */

struct credentials {
	int64_t *ids;
	int n;
};

static void collect(const struct integration *i, void *arg)
{
	struct credentials *k = arg;

	if (k->n % 64 == 0)
		k->ids = mem_realloc(k->ids, sizeof(*k->ids) * (size_t)(k->n + 64));
	k->ids[k->n++] = i->id;
}

struct keyed {
	const char *first;
	int64_t others;
};

static void count_key(const char *place, const char *key, int64_t n, void *arg)
{
	struct keyed *k = arg;

	k->others += strcmp(key, k->first) != 0 ? n : 0;
}

/* They open; an old key among them must stay until they are under the first one. */
static void say_opened(struct doctor *d, const struct keyring *keys, int opened)
{
	struct keyed k = { .first = keyring_id(keys, 0) };
	struct err err = { 0 };

	if (k.first && sealed_count(d->cli->pg, count_key, &k, &err) == 0 && k.others)
		doctor_say(d, DOCTOR_WARN, "credentials",
			   "run `longshore secret rotate-key`, and keep the old keys until then",
			   "the secret key opens all %d; %lld are under another key than %s",
			   opened, (long long)k.others, k.first);
	else
		doctor_say(d, DOCTOR_OK, "credentials", NULL, "the secret key opens all %d",
			   opened);
}

/* Opens every credential and forgets it: a key that was lost is found before a token runs out. */
static void look_credentials(struct doctor *d)
{
	static const char todo[] =
		"give back the key that was in LONGSHORE_SECRET_KEY_FILE, or store"
		" them anew: `longshore integration resume ID --credentials FILE`";
	struct credentials k = { 0 };
	struct keyring *keys = NULL;
	struct err err = { 0 };
	int opened = 0, closed = 0, rc;

	if (keyring_load(d->cli->common.secret_key_file, &keys, &err) < 0)
		keys = NULL;
	rc = integration_each(d->cli->pg, 0, NULL, NULL, collect, &k, &err);
	for (int i = 0; i < k.n && rc == 0; i++) {
		struct secret json = SECRET_INIT;
		struct err why = { 0 };
		bool has = false;
		int one = credential_exists(d->cli->pg, k.ids[i], &has, &why);

		if (one == 0 && has)
			one = credential_get(d->cli->pg, keys, k.ids[i], &json, &why);
		opened += one == 0 && has;
		if (one < 0 && closed++ == 0)
			err = why;
		secret_clear(&json);
	}
	if (rc < 0 || closed)
		doctor_say(d, DOCTOR_FAIL, "credentials", todo, "%d do not open: %s", closed,
			   err.text);
	else if (!keys && k.n)
		doctor_say(d, DOCTOR_WARN, "credentials", "set LONGSHORE_SECRET_KEY_FILE",
			   "there is no secret key; none is needed yet");
	else
		say_opened(d, keys, opened);
	free(k.ids);
	keyring_free(keys);
}

/* Not inlined: with the sanitizers' zones two errors in one frame are too large for a coroutine's stack. */
__attribute__((noinline)) static void look_pg_version(struct doctor *d)
{
	struct err err = { 0 };
	PGresult *res = NULL;
	int64_t number;

	if (pg_execv(d->cli->pg, &res, cli_deadline(), &err,
		     "SELECT current_setting('server_version_num')::int8,"
		     " current_setting('server_version'), current_setting('synchronous_commit')",
		     NULL) < 0) {
		doctor_say(d, DOCTOR_FAIL, "postgres", "see the error", "%s", err.text);
		return;
	}
	number = pg_get_int(res, 0, 0);
	doctor_say(d, number >= POSTGRES_VERSION_MIN ? DOCTOR_OK : DOCTOR_FAIL, "postgres",
		   "14 is the oldest that Longshore works with: upgrade",
		   "up at %s, version %s, synchronous_commit %s", pg_url_shown(d->cli->pg),
		   pg_get(res, 0, 1), pg_get(res, 0, 2));
	PQclear(res);
}

void doctor_postgres(struct doctor *d)
{
	struct pg_options o = { .url = d->cli->common.database_url,
				.application_name = "longshore",
				.max_connections = 1,
				.timeout_ms = CLI_CALL_MS };
	struct err err = { 0 };

	if (pg_new(&o, &d->cli->pg, &err) < 0) {
		d->cli->pg = NULL;
		doctor_say(d, DOCTOR_FAIL, "postgres",
			   "correct --database or LONGSHORE_DATABASE_URL", "%s", err.text);
		return;
	}
	if (cli_wait_pg(d->cli, &err) < 0) {
		doctor_say(d, DOCTOR_FAIL, "postgres",
			   "start it, or name another with --database or LONGSHORE_DATABASE_URL",
			   "%s", err.text);
		return;
	}
	look_pg_version(d);
	if (migrate_check(d->cli->pg, &err) < 0) {
		doctor_say(d, DOCTOR_FAIL, "schema", "run `longshore migrate`", "%s", err.text);
		return;
	}
	doctor_say(d, DOCTOR_OK, "schema", NULL, "up to date");
	look_credentials(d);
}
