/* Breakers at the one door, against a real redis-server and a partner in this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "tests/unit/partner.h"

#define COLLECTION                                                                                                   \
	",\"collections\":{\"things\":{\"get\":\"/things\",\"records\":\"@\",\"id\":\"id\",\"table\":\"resources\"," \
	"\"map\":{\"name\":\"name\"}}}"

static int status_of_things = 200;

static void answer(struct httpd_request *q, int number)
{
	const char *path = httpd_path(q);
	bool report = strncmp(path, "/v1/reports", 11) == 0;
	bool well = strcmp(path, "/v1/status") == 0;

	reply_json(q,
		   report ? 500
		   : well ? 204 + 200 * (status_of_things != 200)
			  : status_of_things,
		   "{\"ok\":true}");
}

static int arrived(const char *path)
{
	int n = 0;

	for (int i = 0; i < partner.n; i++)
		n += strcmp(partner.arrivals[i].path, path) == 0;
	return n;
}

/* Without the quick retry. */
static int once(struct caller *c, const char *path, struct err *err)
{
	struct call_spec spec = { .endpoint = path, .method = "GET", .path = path };
	struct call_result r;
	int rc;

	memset(err, 0, sizeof(*err));
	rc = call(c, &spec, &r, err);
	call_result_clear(&r);
	return rc;
}

static void open_it(struct bench *b, const char *path)
{
	struct err err = { 0 };

	for (int i = 0; i < 4; i++)
		OK(once(&b->caller, path, &err) == -EREMOTEIO && err.class == ERR_TRANSIENT);
	/* The one that opens it waits already, and keeps its retry. */
	OK(once(&b->caller, path, &err) == -EAGAIN && err.class == ERR_HOLD &&
	   err.retry_after_ms > 0);
}

static void body_opens(void)
{
	struct bench b;
	struct err err = { 0 };
	int before;

	partner.answer = answer;
	bench_open(
		&b, "",
		",\"breaker\":{\"open\":\"200ms\",\"open_max\":\"300ms\",\"slow_start\":0}" COLLECTION,
		NULL, 21, 0);
	status_of_things = 404;
	for (int i = 0; i < 30; i++)
		OK(once(&b.caller, "/things", &err) == -EREMOTEIO && err.class == ERR_CLIENT);
	status_of_things = 503;
	open_it(&b, "/things");
	before = partner.n;
	for (int i = 0; i < 20; i++)
		OK(once(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD);
	OK(strstr(err.text, "breaker") != NULL && partner.n == before);
	OK(co_sleep("open", 220) == 0);
	/* The probe fails, and is not charged either. */
	OK(once(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD);
	OK(once(&b.caller, "/things", &err) == -EAGAIN && partner.n == before + 1);
	OK(co_sleep("open", 320) == 0);
	status_of_things = 404; /* it answers: that is all it takes */
	OK(once(&b.caller, "/things", &err) == -EREMOTEIO && err.class == ERR_CLIENT);
	status_of_things = 200;
	OK(once(&b.caller, "/things", &err) == 0);
	bench_close(&b);
}

/* The second try of a call whose first one failed meets the breaker, and the job waits. */
static void body_quick_retry(void)
{
	struct bench b;
	struct err err = { 0 };

	partner.answer = answer;
	bench_open(&b, "", ",\"breaker\":{\"failures\":1}" COLLECTION, NULL, 22, 0);
	status_of_things = 503;
	co_set_deadline(co_self(), loop_now_ms() + 10000);
	OK(get(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD && partner.n == 1);
	OK(strstr(err.text, "503") != NULL);
	co_set_deadline(co_self(), CO_NO_DEADLINE);
	bench_close(&b);
}

static void body_probe(void)
{
	struct bench b;
	struct err err = { 0 };

	partner.answer = answer;
	bench_open(
		&b, "",
		",\"breaker\":{\"open\":\"200ms\",\"open_max\":\"200ms\",\"probe\":\"/status\"}" COLLECTION,
		NULL, 23, 0);
	status_of_things = 503;
	open_it(&b, "/things");
	OK(arrived("/v1/status") == 0 && arrived("/v1/things") == 5);
	OK(co_sleep("open", 220) == 0);
	status_of_things = 200;
	OK(once(&b.caller, "/things", &err) == 0);
	OK(arrived("/v1/status") == 1 && arrived("/v1/things") == 6);
	bench_close(&b);
}

/* A group that is broken does not keep anybody from the rest. */
static void body_groups(void)
{
	struct bench b;
	struct err err = { 0 };
	int before;

	partner.answer = answer;
	bench_open(
		&b, "",
		",\"breaker\":{\"groups\":{\"reports\":{\"endpoints\":[\"/reports\"]}}}" COLLECTION,
		NULL, 24, 0);
	status_of_things = 200;
	open_it(&b, "/reports/{id}");
	before = partner.n;
	OK(once(&b.caller, "/reports", &err) == -EAGAIN && strstr(err.text, "/reports"));
	OK(partner.n == before);
	OK(once(&b.caller, "/reportsabout", &err) == -EREMOTEIO && err.class == ERR_TRANSIENT);
	for (int i = 0; i < 10; i++)
		OK(once(&b.caller, "/things", &err) == 0);
	bench_close(&b);
}

static void test_opens(void **state)
{
	assert_int_equal(on_loop(body_opens), 0);
}

static void test_quick_retry(void **state)
{
	assert_int_equal(on_loop(body_quick_retry), 0);
}

static void test_probe(void **state)
{
	assert_int_equal(on_loop(body_probe), 0);
}

static void test_groups(void **state)
{
	assert_int_equal(on_loop(body_groups), 0);
}

static int loop_up(void **state)
{
	return loop_init();
}

static int loop_down(void **state)
{
	loop_close();
	return 0;
}

static int setup(void **state)
{
	log_init("test", LOG_ERROR, false);
	return partner_setup(state) < 0 || http_global_init() < 0 ? -1 : 0;
}

#define ON_LOOP(name) cmocka_unit_test_setup_teardown(name, loop_up, loop_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(test_opens),
		ON_LOOP(test_quick_retry),
		ON_LOOP(test_probe),
		ON_LOOP(test_groups),
	};

	return cmocka_run_group_tests(tests, setup, partner_teardown);
}
