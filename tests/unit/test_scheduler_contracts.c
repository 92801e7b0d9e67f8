/* The daily check of what was agreed with a partner: what it finds, whom it asks, how often, and what it makes of an outage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "scheduler/contracts.h"
#include "tests/unit/auth_bench.h"

#define MANIFEST(name, rest)                                                                     \
	"{\"partner\":\"" name                                                                   \
	"\",\"manifest\":1,\"api\":{\"base\":{\"production\":\"https://api.acme.example/v1\"}}," \
	"\"collections\":{\"things\":{\"get\":\"/things\",\"records\":\"@\",\"id\":\"id\","      \
	"\"table\":\"resources\",\"map\":{\"name\":\"name\"}}}" rest "}"
#define RECORDED                                                                                                                \
	"{\"cassette\":1,\"recorded_at\":\"2026-01-02T00:00:00Z\",\"partner\":\"acme\",\"import\":{\"collection\":\"things\"}," \
	"\"exchanges\":[{\"request\":{\"method\":\"GET\",\"url\":\"{base}/things\"},"                                           \
	"\"response\":{\"status\":200,\"json\":[{\"id\":\"1\",\"name\":\"One\"}]}}]}"

/* Of scheduler/main.c, which is not linked here. */
struct queue *scheduler_queue(struct scheduler *s, const char *name)
{
	return NULL;
}

int scheduler_sleep(struct scheduler *s, int64_t ms)
{
	return -1;
}

int scheduler_spawn(struct scheduler *s, const char *name, void (*fn)(void *), void *arg)
{
	return -1;
}

static struct {
	struct scheduler s;
	char dir[64];
	int status;
	const char *things;
} self;

static void answer(struct httpd_request *q, int number)
{
	reply_json(q, self.status, self.things);
}

static void write_file(const char *name, const char *text)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", self.dir, name);
	f = fopen(path, "w");
	OK(f && fputs(text, f) >= 0);
	if (f)
		fclose(f);
}

static void make_dir(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", self.dir, name);
	OK(mkdir(path, 0755) == 0);
}

static void load(void)
{
	struct buf problems = BUF_INIT;
	struct err err = { 0 };

	driver_set_free(self.s.drivers);
	OK(driver_set_load(self.dir, &self.s.drivers, &problems, &err) == 0 && !problems.len);
	fprintf(stderr, "%s", buf_str(&problems));
	buf_clear(&problems);
}

static int64_t add_of(const char *name, const char *environment)
{
	int64_t id = add_integration("{\"api_key\":\"key-12345\"}");
	char *sql = mem_printf("UPDATE integrations SET partner = '%s', base_url = '%s/%s',"
			       " environment = '%s' WHERE id = %lld",
			       name, partner.root, environment, environment, (long long)id);

	ask(sql);
	free(sql);
	return id;
}

static void open_all(void)
{
	memset(&self, 0, sizeof(self));
	self.status = 200;
	self.things = "[{\"id\":\"1\",\"name\":\"One\"}]";
	partner.answer = answer;
	ask("DELETE FROM integrations");
	ask("DELETE FROM alerts");
	snprintf(self.dir, sizeof(self.dir), "/tmp/longshore-test-XXXXXX");
	OK(mkdtemp(self.dir) != NULL);
	make_dir("acme");
	make_dir("acme/cassettes");
	make_dir("other");
	write_file("acme/manifest.json", MANIFEST("acme", ",\"checks\":{\"daily\":[\"things\"]}"));
	write_file("acme/cassettes/things.json", RECORDED);
	write_file("other/manifest.json", MANIFEST("other", ""));
	self.s = (struct scheduler){ .redis = redis, .pg = pg, .keyring = keyring };
	load();
	(void)add_of("other", "production");
}

static void close_all(void)
{
	static const char *const files[] = { "acme/manifest.json",
					     "acme/cassettes/things.json",
					     "other/manifest.json",
					     "acme/cassettes",
					     "acme",
					     "other",
					     "" };
	char path[200];

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", self.dir, files[i]);
		OK(remove(path) == 0);
	}
	driver_set_free(self.s.drivers);
}

static void a_day_passes(void)
{
	redis_run("DEL", "role:{longshore}:contract-acme");
}

static const char *alerts(void)
{
	return ask(
		"SELECT string_agg(state || ' ' || scope, ', ' ORDER BY scope) FROM alerts WHERE kind = 'contract_broken'");
}

static void body_once_a_day(void)
{
	open_all();
	contracts_look(&self.s);
	OK(partner.n == 0); /* there is nobody to ask with */
	a_day_passes();
	(void)add_of("acme", "sandbox");
	(void)add_of("acme", "production");
	contracts_look(&self.s);
	OK(partner.n == 1 && strcmp(partner.arrivals[0].path, "/production/things") == 0);
	OK(!alerts()[0]);
	contracts_look(&self.s);
	OK(partner.n == 1);
	load(); /* a restart */
	contracts_look(&self.s);
	OK(partner.n == 1);
	OK(strcmp(ask("SELECT count(*) FROM resources"), "0") == 0); /* nothing is stored */
	close_all();
}

static void body_broken(void)
{
	redisReply *reply = NULL;

	open_all();
	(void)add_of("acme", "production");
	self.things = "[{\"id\":\"1\",\"name\":7}]";
	contracts_look(&self.s);
	OK(strcmp(alerts(), "open partner:acme /things name") == 0);
	OK(strstr(ask("SELECT what || todo FROM alerts"),
		  "was text when it was recorded, and is number"));
	OK(strstr(ask("SELECT what || todo FROM alerts"),
		  "longshore driver check acme --live --integration "));
	/* an outage says nothing of it, and is no reason to wait a day */
	self.status = 503;
	self.things = "{}";
	a_day_passes();
	contracts_look(&self.s);
	OK(strcmp(alerts(), "open partner:acme /things name") == 0);
	OK(redis_callv(redis, &reply, loop_now_ms() + PATIENCE_MS, NULL, "PTTL",
		       "role:{longshore}:contract-acme", NULL) == 0);
	OK(reply && reply->integer > 0 && reply->integer <= 3600000);
	freeReplyObject(reply);
	self.status = 200;
	self.things = "[{\"id\":\"1\",\"name\":\"One\"}]";
	a_day_passes();
	contracts_look(&self.s);
	OK(strcmp(alerts(), "resolved partner:acme /things name") == 0);
	/* gone, and then nobody asks any more */
	self.things = "[{\"id\":\"1\"}]";
	a_day_passes();
	contracts_look(&self.s);
	OK(strcmp(alerts(), "open partner:acme /things name") == 0);
	write_file("acme/manifest.json", MANIFEST("acme", ""));
	load();
	contracts_look(&self.s);
	OK(strcmp(alerts(), "resolved partner:acme /things name") == 0);
	close_all();
}

TEST(once_a_day)
TEST(broken)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(once_a_day),
		ON_LOOP(broken),
	};

	return cmocka_run_group_tests(tests, auth_setup, auth_teardown);
}
