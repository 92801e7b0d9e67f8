/* A list that seemed to end, because a page came short: what that is worth, and how it is asked on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/kit/paginate_parts.h"
#include "tests/unit/partner.h"

#define REST(paging)                                                                       \
	",\"pagination\":{" paging ",\"limit_param\":\"n\",\"size\":10},\"collections\":{" \
	"\"things\":{\"get\":\"/things\",\"records\":\"data\",\"id\":\"id\",\"table\":"    \
	"\"resources\",\"map\":{\"name\":\"name\"}}}"
#define OFFSET REST("\"kind\":\"offset\",\"offset_param\":\"from\"")
#define PAGES REST("\"kind\":\"page\",\"page_param\":\"page\"")

static int items;
static bool hides; /* three of the second ten: shown to others alone */
static bool knows_no_pages;

static bool shows(int i)
{
	return i < items && !(hides && i >= 12 && i < 15);
}

static void answer(struct httpd_request *q, int number)
{
	const char *s = httpd_query(q, "from"), *page = httpd_query(q, "page");
	int from = s ? (int)strtol(s, NULL, 10) : page ? 10 * (int)strtol(page, NULL, 10) - 10 : 0;
	int n = 0;
	struct buf out = BUF_INIT;

	if (knows_no_pages)
		from = 0;
	buf_puts(&out, "{\"data\":[");
	for (int i = from; i < from + 10; i++)
		if (shows(i))
			buf_printf(&out, "%s{\"id\":%d,\"name\":\"thing\"}", n++ ? "," : "", i);
	buf_puts(&out, "]}");
	httpd_reply(q, 200, "application/json", out.data, out.len);
	buf_clear(&out);
}

static struct pager *begin_from(struct bench *b, const char *rest, const cJSON *state)
{
	struct pager_options o = { .resume = state };
	struct pager *p = NULL;
	struct err err = { 0 };

	bench_open(b, "", rest, NULL, 5, 5000);
	o.collection = &b->manifest->collections[0];
	OK(pager_new(&b->caller, &o, &p, &err) == 0);
	return p;
}

/* To the end of it; how many items came. */
static int read_on(struct pager *p)
{
	struct err err = { 0 };
	int n = 0, rc = 1;

	while (rc > 0) {
		struct page page;

		rc = pager_next(p, &page, &err);
		n += page.n;
		page_clear(&page);
	}
	OK(rc == 0);
	return n;
}

static void fresh(int n)
{
	partner.n = 0;
	partner.answer = answer;
	redis_run("FLUSHALL", NULL);
	items = n;
	hides = knows_no_pages = false;
}

static void body_short_last_page(void)
{
	const char *why = NULL;
	struct bench b;
	struct pager *p;

	fresh(23);
	p = begin_from(&b, OFFSET, NULL);
	OK(!pager_guessed(p)); /* it has not ended */
	OK(read_on(p) == 23 && partner.n == 3);
	OK(pager_complete(p, NULL) && pager_guessed(p) && !pager_proves(p, &why));
	OK(why && strstr(why, "its last page was short"));
	pager_go_on(p);
	OK(!pager_complete(p, NULL) && !pager_guessed(p));
	OK(read_on(p) == 0 && partner.n == 4);
	OK(pager_complete(p, NULL) && !pager_guessed(p) && pager_proves(p, &why) && !why);
	OK(pager_records(p) == 23);
	pager_free(p);
	bench_close(&b);
}

/* A page that an empty one follows has nothing to guess: no call more. */
static void body_full_last_page(void)
{
	struct bench b;
	struct pager *p;

	fresh(20);
	p = begin_from(&b, OFFSET, NULL);
	OK(read_on(p) == 20 && partner.n == 3);
	OK(!pager_guessed(p) && pager_proves(p, NULL));
	pager_free(p);
	bench_close(&b);
}

/* The list was not at its end: what follows is given.  Where pages are counted, one that was short in the midst is no proof
 * of what is not there: nobody knows what the partner left out of it. */
static void body_short_page_in_the_midst(void)
{
	const char *why = NULL;
	struct bench b;
	struct pager *p;

	fresh(38);
	hides = true;
	p = begin_from(&b, PAGES, NULL);
	OK(read_on(p) == 17 && pager_guessed(p));
	pager_go_on(p);
	OK(read_on(p) == 18 && pager_records(p) == 35 && partner.n == 5);
	OK(pager_complete(p, NULL) && !pager_guessed(p) && !pager_proves(p, &why));
	OK(why && strstr(why, "in the middle of the list"));
	pager_free(p);
	bench_close(&b);
	/* Where items are, the next page begins behind those that came: some come twice, none is left out. */
	fresh(38);
	hides = true;
	p = begin_from(&b, OFFSET, NULL);
	OK(read_on(p) == 17 && pager_guessed(p));
	pager_go_on(p);
	OK(read_on(p) == 21 && pager_complete(p, NULL) && pager_proves(p, NULL));
	pager_free(p);
	bench_close(&b);
}

/* Who knows no pages says the same again: then that was all, and no loop. */
static void body_no_pages(void)
{
	struct bench b;
	struct pager *p;

	fresh(5);
	knows_no_pages = true;
	p = begin_from(&b, OFFSET, NULL);
	OK(read_on(p) == 5 && pager_guessed(p));
	pager_go_on(p);
	(void)read_on(p);
	OK(partner.n == 2 && pager_complete(p, NULL) && pager_proves(p, NULL));
	pager_free(p);
	bench_close(&b);
}

/* Whoever goes on in the place of one that died asks on too. */
static void body_another_goes_on(void)
{
	struct bench b;
	struct pager *p;
	cJSON *state;

	fresh(23);
	p = begin_from(&b, OFFSET, NULL);
	OK(read_on(p) == 23);
	pager_go_on(p);
	state = pager_state(p);
	pager_free(p);
	bench_close(&b);
	p = begin_from(&b, OFFSET, state);
	OK(!pager_complete(p, NULL));
	OK(read_on(p) == 0 && partner.n == 4 && pager_proves(p, NULL));
	cJSON_Delete(state);
	pager_free(p);
	bench_close(&b);
}

#define TEST(name)                                         \
	static void test_##name(void **state)              \
	{                                                  \
		assert_int_equal(on_loop(body_##name), 0); \
	}
TEST(short_last_page)
TEST(full_last_page)
TEST(short_page_in_the_midst)
TEST(no_pages)
TEST(another_goes_on)

static int setup(void **state)
{
	return partner_setup(state) < 0 || http_global_init() < 0 ? -1 : 0;
}

static int begin(void **state)
{
	return loop_init();
}

static int end(void **state)
{
	loop_close();
	return 0;
}

#define ON_LOOP(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = { ON_LOOP(short_last_page), ON_LOOP(full_last_page),
					    ON_LOOP(short_page_in_the_midst), ON_LOOP(no_pages),
					    ON_LOOP(another_goes_on) };

	return cmocka_run_group_tests(tests, setup, partner_teardown);
}
