/* Pages of a partner in this process, through the door and a real redis-server. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/kit/paginate_parts.h"
#include "tests/unit/partner.h"

#define MAP ",\"table\":\"resources\",\"map\":{\"name\":\"name\"}"
#define THINGS(get, records, more)                                                 \
	",\"collections\":{\"things\":{\"get\":\"" get "\",\"records\":\"" records \
	"\",\"id\":\"id\"" MAP more "}}"
#define OFFSET(more)                                                                                                \
	",\"pagination\":{\"kind\":\"offset\",\"limit_param\":\"limit\",\"offset_param\":\"skip\",\"size\":10" more \
	"}"

static int items;      /* how many things the partner has */
static int told_total; /* what it says of that; -1: items */
static int most;       /* it gives at most so many at once; 0: as asked */
static bool in_header;

static void scan_defaults(int n)
{
	items = n;
	told_total = -1;
	most = 0;
	in_header = false;
}

static int query_int(struct httpd_request *q, const char *name, int fallback)
{
	const char *s = httpd_query(q, name);

	return s ? (int)strtol(s, NULL, 10) : fallback;
}

static void append_things(struct buf *out, int from, int n)
{
	buf_putc(out, '[');
	for (int i = from; i < from + n && i < items; i++)
		buf_printf(out, "%s{\"id\":%d,\"name\":\"thing %d\"}", i > from ? "," : "", i, i);
	buf_putc(out, ']');
}

static void reply_things(struct httpd_request *q, int from, int n, bool bare)
{
	struct buf out = BUF_INIT;
	char total[24];

	if (most && n > most)
		n = most;
	snprintf(total, sizeof(total), "%d", told_total >= 0 ? told_total : items);
	if (!bare)
		buf_puts(&out, "{\"results\":");
	append_things(&out, from, n);
	if (!bare)
		buf_printf(&out, ",\"count\":%s}", total);
	if (in_header)
		httpd_add_header(q, "X-Total-Count", total);
	httpd_reply(q, 200, "application/json", out.data, out.len);
	buf_clear(&out);
}

static void answer_offset(struct httpd_request *q, int number)
{
	reply_things(q, query_int(q, "skip", 0), query_int(q, "limit", 25), false);
}

static void answer_bare(struct httpd_request *q, int number)
{
	reply_things(q, query_int(q, "skip", 0), query_int(q, "limit", 25), true);
}

/* ---- scanning ---- */

struct scan {
	int rc, pages, records, last_id;
	int64_t total;
	bool complete;
	char why[160], text[200], rule[64], where[96], exchange[400];
	enum err_class class;
};

static struct pager *pager_of(struct bench *b, const struct pager_options *with)
{
	struct pager_options o = *with;
	struct pager *p = NULL;
	struct err err = { 0 };

	o.collection = &b->manifest->collections[0];
	if (pager_new(&b->caller, &o, &p, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	OK(p != NULL);
	return p;
}

static void take_page(struct scan *s, const struct page *page)
{
	int64_t id;

	s->pages++;
	s->records += page->n;
	s->total = page->total;
	OK(page->number == s->pages);
	OK(page->observed_us > 0);
	for (int i = 0; i < page->n; i++)
		if (json_int(page->records[i], "id", &id))
			s->last_id = (int)id;
}

static struct scan scan_rest(struct pager *p)
{
	struct scan s = { .last_id = -1 };
	struct err err = { 0 };
	struct page page;
	const char *why;

	while ((s.rc = pager_next(p, &page, &err)) > 0) {
		take_page(&s, &page);
		page_clear(&page);
	}
	keep(s.exchange, sizeof(s.exchange), buf_str(&page.exchange));
	page_clear(&page);
	s.complete = pager_complete(p, &why);
	keep(s.why, sizeof(s.why), why);
	keep(s.text, sizeof(s.text), err.text);
	keep(s.rule, sizeof(s.rule), err.rule);
	keep(s.where, sizeof(s.where), err.where);
	s.class = err.class;
	return s;
}

static struct scan scan(const char *rest, const struct pager_options *o)
{
	static const struct pager_options none;
	struct bench b;
	struct scan s = { .rc = -1 };
	struct pager *p;

	partner.n = 0;
	redis_run(
		"FLUSHALL",
		NULL); /* the last scan's permit may not have been given back when its door was closed */
	bench_open(&b, "", rest, NULL, 5, 5000);
	p = pager_of(&b, o ? o : &none);
	if (p)
		s = scan_rest(p);
	pager_free(p);
	bench_close(&b);
	return s;
}

static void body_offset(void)
{
	static const char with_total[] =
		OFFSET(",\"total\":\"count\"") THINGS("/things", "results", "");
	static const char bare[] = OFFSET("") THINGS("/things", "results|@", "");
	struct scan s;

	partner.answer = answer_offset;
	scan_defaults(25);
	s = scan(with_total, NULL);
	OK(s.rc == 0 && s.complete && s.pages == 3 && s.records == 25 && s.total == 25 &&
	   partner.n == 3);
	OK(strcmp(partner.arrivals[0].query, "limit=10&skip=0") == 0);
	OK(strcmp(partner.arrivals[2].query, "limit=10&skip=20") == 0);
	scan_defaults(20); /* the total spares a page */
	s = scan(with_total, NULL);
	OK(s.complete && s.pages == 2 && partner.n == 2);
	scan_defaults(0);
	s = scan(with_total, NULL);
	OK(s.complete && s.records == 0 && partner.n == 1);
	scan_defaults(25);
	most = 4; /* less than was asked for: the total says that there is more */
	s = scan(with_total, NULL);
	OK(s.complete && s.records == 25 && s.last_id == 24 && partner.n == 7);
	partner.answer = answer_bare;
	scan_defaults(20); /* no total: an empty page tells */
	s = scan(bare, NULL);
	OK(s.complete && s.records == 20 && s.total == -1 && partner.n == 3);
	scan_defaults(25);
	in_header = true;
	s = scan(OFFSET(",\"total\":\"header:X-Total-Count\"") THINGS("/things", "@", ""), NULL);
	OK(s.complete && s.records == 25 && s.total == 25);
}

static void test_offset(void **state)
{
	assert_int_equal(on_loop(body_offset), 0);
}

static void body_incomplete(void)
{
	static const char with_total[] =
		OFFSET(",\"total\":\"count\"") THINGS("/things", "results", "");
	struct scan s;

	partner.answer = answer_offset;
	scan_defaults(25);
	told_total = 40;
	s = scan(with_total, NULL);
	OK(s.rc == 0 && !s.complete && s.records == 25 && strstr(s.why, "40") &&
	   strstr(s.why, "25"));
	scan_defaults(100);
	s = scan(OFFSET(",\"total\":\"count\",\"max_pages\":3") THINGS("/things", "results", ""),
		 NULL);
	OK(s.rc == 0 && !s.complete && s.pages == 3 && strstr(s.why, "max_pages"));
	told_total = 0; /* fewer than were seen: rows came meanwhile */
	scan_defaults(7);
	told_total = 5;
	s = scan(with_total, NULL);
	OK(s.rc == 0 && s.complete);
}

static void test_incomplete(void **state)
{
	assert_int_equal(on_loop(body_incomplete), 0);
}

/* ---- loops and broken answers ---- */

static void answer_same(struct httpd_request *q, int number)
{
	reply_things(q, 0, 10, false);
}

static void answer_two_in_turn(struct httpd_request *q, int number)
{
	reply_things(q, number % 2 * 10, 10, false);
}

static int unexpected;

static void answer_unexpected(struct httpd_request *q, int number)
{
	static const char *const bodies[] = { "{\"results\":{\"a\":1}}", "{\"items\":[]}", "[]",
					      "" };

	reply_json(q, 200, bodies[unexpected]);
}

static void body_loops(void)
{
	static const char endless[] = OFFSET("") THINGS("/things", "results", "");
	struct scan s;

	scan_defaults(1000);
	partner.answer = answer_same;
	s = scan(endless, NULL);
	OK(s.rc == -EBADMSG && s.class == ERR_DATA && strcmp(s.rule, "paging loop") == 0 &&
	   s.pages == 1 && partner.n == 2);
	OK(strcmp(s.where, "things page 2") == 0);
	OK(strstr(s.exchange, "\"url\":") && strstr(s.exchange, "skip=10"));
	partner.answer = answer_two_in_turn;
	s = scan(endless, NULL);
	OK(s.rc == -EBADMSG && strcmp(s.rule, "paging loop") == 0 && partner.n == 3);
	partner.answer = answer_unexpected;
	for (int i = 0; i < 4; i++) {
		unexpected = i;
		s = scan(endless, NULL);
		OK(s.rc == -EBADMSG && s.class == ERR_DATA && strcmp(s.rule, "records") == 0 &&
		   strstr(s.text, "results"));
	}
}

static void test_loops(void **state)
{
	assert_int_equal(on_loop(body_loops), 0);
}

/* ---- cursors and page numbers ---- */

static const char *last_cursor = "null";
static bool repeat_cursor;

static void answer_cursor(struct httpd_request *q, int number)
{
	const char *after = httpd_query(q, "after");
	int from = after ? (int)strtol(after + 1, NULL, 10) : 0;
	struct buf out = BUF_INIT;

	buf_puts(&out, "{\"data\":");
	append_things(&out, from, 10);
	if (from + 10 < items)
		buf_printf(&out, ",\"page\":{\"next\":\"c%d\"}}",
			   repeat_cursor && from >= 10 ? 10 : from + 10);
	else
		buf_printf(&out, ",\"page\":{\"next\":%s}}", last_cursor);
	httpd_reply(q, 200, "application/json", out.data, out.len);
	buf_clear(&out);
}

static void answer_page(struct httpd_request *q, int number)
{
	int page = query_int(q, "page", 1), size = query_int(q, "size", 10);

	reply_things(q, (page - 1) * size, size, false);
}

#define CURSOR \
	",\"pagination\":{\"kind\":\"cursor\",\"cursor_param\":\"after\",\"cursor\":\"page.next\"}"

static void body_cursor(void)
{
	static const char cursor[] = CURSOR THINGS("/things", "data", "");
	struct scan s;

	partner.answer = answer_cursor;
	scan_defaults(35);
	for (int i = 0; i < 3; i++) {
		static const char *const ends[] = { "null", "\"\"", "false" };

		last_cursor = ends[i];
		s = scan(cursor, NULL);
		OK(s.rc == 0 && s.complete && s.records == 35 && partner.n == 4);
	}
	OK(strcmp(partner.arrivals[0].query, "") == 0 &&
	   strcmp(partner.arrivals[1].query, "after=c10") == 0);
	last_cursor = "null,\"more\":true";
	items = 10;
	s = scan(
		",\"pagination\":{\"kind\":\"cursor\",\"cursor_param\":\"after\",\"cursor\":\"page.next\","
		"\"stop\":[\"has_more:page.more\"]}" THINGS("/things", "data", ""),
		NULL);
	OK(s.rc == 0 && !s.complete && s.records == 10);
	items = 35;
	repeat_cursor = true;
	s = scan(cursor, NULL);
	OK(s.rc == -EBADMSG && strcmp(s.rule, "paging loop") == 0 && strstr(s.text, "cursor") &&
	   partner.n == 2);
	repeat_cursor = false;
	last_cursor = "\"c40\""; /* the end gives itself again, with nothing on it */
	scan_defaults(40);
	s = scan(cursor, NULL);
	OK(s.rc == 0 && s.complete && s.records == 40 && partner.n == 5);
}

static void body_page(void)
{
	struct scan s;

	partner.answer = answer_page;
	scan_defaults(35);
	s = scan(
		",\"pagination\":{\"kind\":\"page\",\"page_param\":\"page\",\"limit_param\":\"size\",\"size\":10}" THINGS(
			"/things", "results", ""),
		NULL);
	OK(s.complete && s.records == 35 && partner.n == 4);
	OK(strcmp(partner.arrivals[1].query, "size=10&page=2") == 0);
	/* the partner's own size, which we are not told */
	s = scan(",\"pagination\":{\"kind\":\"page\",\"page_param\":\"page\"}" THINGS("/things",
										      "results",
										      ""),
		 NULL);
	OK(s.complete && s.records == 35 && partner.n == 4);
	s = scan(THINGS("/things", "results", ""), NULL); /* no pagination: one call */
	OK(s.complete && s.records == 10 && partner.n == 1 &&
	   strcmp(partner.arrivals[0].query, "") == 0);
}

static void test_cursor(void **state)
{
	assert_int_equal(on_loop(body_cursor), 0);
}

static void test_page(void **state)
{
	assert_int_equal(on_loop(body_page), 0);
}

/* ---- smaller pages ---- */

#define PAGED_BY(size)                                                                         \
	",\"pagination\":{\"kind\":\"page\",\"page_param\":\"page\",\"limit_param\":\"size\"," \
	"\"size\":" size ",\"max_pages\":4}" THINGS("/things", "results", "")
#define PAGED PAGED_BY("10")

/* One page, whose first record must be where the last one ended. */
static int next_of(struct pager *p, int *seen)
{
	struct err err = { 0 };
	struct page page;
	int64_t id = -1;
	int rc = pager_next(p, &page, &err);

	if (rc > 0 && page.n) {
		OK(json_int(page.records[0], "id", &id) && id == *seen);
		*seen += page.n;
	}
	page_clear(&page);
	return rc;
}

/* Whatever sizes are asked for on the way, each record is seen once. */
static void resize_between(const char *rest, const int *sizes, int n)
{
	struct pager_options o = { 0 };
	struct pager *p;
	struct bench b;
	int seen = 0;

	redis_run("FLUSHALL", NULL);
	bench_open(&b, "", rest, NULL, 5, 5000);
	p = pager_of(&b, &o);
	OK(pager_size(p) == 10);
	for (int i = 0; next_of(p, &seen) > 0; i++)
		pager_resize(p, sizes[i % n]);
	OK(seen == 37 && pager_complete(p, NULL));
	pager_free(p);
	bench_close(&b);
}

/* The state says of what size the pages are that it counts. */
static void resume_smaller(const char *rest)
{
	struct pager_options o = { .size = 4 };
	struct pager *p;
	struct bench b;
	int seen = 0;

	redis_run("FLUSHALL", NULL);
	bench_open(&b, "", rest, NULL, 5, 5000);
	p = pager_of(&b, &o);
	OK(pager_size(p) == 4 && next_of(p, &seen) == 1 && next_of(p, &seen) == 1 && seen == 8);
	cJSON *state = pager_state(p);
	pager_free(p);
	o = (struct pager_options){ .resume = state };
	p = pager_of(&b, &o);
	while (next_of(p, &seen) > 0)
		pager_shrink(p);
	OK(seen == 37 && pager_complete(p, NULL));
	cJSON_Delete(state);
	pager_free(p);
	bench_close(&b);
}

/* Two pages by one manifest, the rest by another one; what is read after that. */
static int resume_changed(const char *before, const char *after)
{
	struct pager_options o = { 0 };
	struct pager *p;
	struct page page;
	struct err err = { 0 };
	struct bench b;
	int seen = 0, first = -1;
	int64_t id;

	redis_run("FLUSHALL", NULL);
	bench_open(&b, "", before, NULL, 5, 5000);
	p = pager_of(&b, &o);
	OK(next_of(p, &seen) == 1 && next_of(p, &seen) == 1);
	cJSON *state = pager_state(p);
	pager_free(p);
	bench_close(&b);
	redis_run("FLUSHALL", NULL);
	bench_open(&b, "", after, NULL, 5, 5000);
	o.resume = state;
	p = pager_of(&b, &o);
	while (pager_next(p, &page, &err) > 0) {
		if (first < 0 && page.n && json_int(page.records[0], "id", &id))
			first = (int)id;
		page_clear(&page);
	}
	page_clear(&page);
	OK(pager_complete(p, NULL));
	cJSON_Delete(state);
	pager_free(p);
	bench_close(&b);
	return first;
}

/* A scan goes on where it stood, in pages of another size too; in another list it begins anew. */
static void body_changed(void)
{
	scan_defaults(37);
	partner.answer = answer_page;
	OK(resume_changed(PAGED, PAGED_BY("12")) == 20);
	OK(resume_changed(PAGED, PAGED_BY("15")) == 20);
	OK(resume_changed(PAGED_BY("12"), PAGED) == 24);
	partner.answer = answer_offset;
	OK(resume_changed(OFFSET("") THINGS("/things", "results", ""),
			  OFFSET("") THINGS("/things", "results", "")) == 20);
	OK(resume_changed(OFFSET("") THINGS("/things", "results", ""),
			  OFFSET("")
				  THINGS("/things", "results", ",\"query\":{\"all\":\"1\"}")) == 0);
	OK(resume_changed(OFFSET("") THINGS("/some", "results", ""),
			  OFFSET("") THINGS("/things", "results", "")) == 0);
}

static void test_changed(void **state)
{
	assert_int_equal(on_loop(body_changed), 0);
}

static void body_smaller(void)
{
	static const char offset[] = OFFSET(",\"max_pages\":4") THINGS("/things", "results", "");
	static const int mixed[] = { 4, 10, 3, 7 }, ones[] = { 1 };

	scan_defaults(37);
	partner.answer = answer_offset;
	resize_between(offset, mixed, 4);
	resize_between(offset, ones, 1); /* 28 pages: the bound grows as pages shrink */
	resume_smaller(offset);
	partner.answer = answer_page;
	resize_between(PAGED, mixed, 4);
	resize_between(PAGED, ones, 1);
	resume_smaller(PAGED);
}

static void test_smaller(void **state)
{
	assert_int_equal(on_loop(body_smaller), 0);
}

/* What an answer takes is known before it is made a tree, and is given back with the page. */
static void body_memory(void)
{
	static const char offset[] = OFFSET("") THINGS("/things", "results", "");
	struct budget memory = { .limit = 3000 };
	struct pager_options o = { 0 };
	struct err err = { 0 };
	struct page page;
	struct pager *p;
	struct bench b;
	int rc;

	scan_defaults(20);
	partner.answer = answer_offset;
	bench_open(&b, "", offset, NULL, 5, 5000);
	b.caller.memory = &memory;
	p = pager_of(&b, &o);
	rc = pager_next(p, &page, &err);
	OK(rc == -EREMOTEIO && err.class == ERR_MEMORY && strstr(err.text, "KiB in memory"));
	OK(strstr(err.where, "things page 1") && page.exchange.len);
	page_clear(&page);
	OK(memory.held == 0 && memory.peak > 0 && memory.peak <= memory.limit);
	while (rc < 0 && pager_shrink(p)) {
		rc = pager_next(p, &page, &err);
		if (rc == 1)
			OK(memory.held > 0 && page.text_bytes > 0);
		page_clear(&page);
		OK(memory.held == 0);
	}
	OK(rc == 1 && pager_size(p) == 5);
	/* a body that is longer than what is left is not read to its end */
	memory.limit = 100;
	rc = pager_next(p, &page, &err);
	OK(rc == -EREMOTEIO && err.class == ERR_MEMORY && strstr(err.text, "longer than"));
	page_clear(&page);
	OK(memory.held == 0);
	pager_free(p);
	bench_close(&b);
}

/* 17 MiB where more than five are asked for. */
static void answer_long(struct httpd_request *q, int number)
{
	int limit = query_int(q, "limit", 25);
	struct buf out = BUF_INIT;

	buf_puts(&out, "{\"results\":");
	append_things(&out, query_int(q, "skip", 0), limit);
	if (limit > 5) {
		buf_reserve(&out, 17 << 20);
		memset(out.data + out.len, ' ', 17 << 20);
		out.len += 17 << 20;
	}
	buf_puts(&out, "}");
	httpd_reply(q, 200, "application/json", out.data, out.len);
	buf_clear(&out);
}

/* What is read of one answer is bounded for all: smaller pages help there too. */
static void body_long_answer(void)
{
	static const char offset[] = OFFSET("") THINGS("/things", "results", "");
	struct budget memory = { .limit = INT64_C(512) << 20 };
	struct pager_options o = { 0 };
	struct err err = { 0 };
	struct page page;
	struct pager *p;
	struct bench b;

	scan_defaults(8);
	partner.answer = answer_long;
	redis_run("FLUSHALL", NULL);
	bench_open(&b, "", offset, NULL, 5, 5000);
	b.caller.memory = &memory;
	p = pager_of(&b, &o);
	OK(pager_next(p, &page, &err) == -EREMOTEIO && err.class == ERR_MEMORY);
	OK(strstr(err.text, "the most that is read") && !strstr(err.text, "--job-memory"));
	page_clear(&page);
	OK(pager_shrink(p) && pager_next(p, &page, &err) == 1 && page.n == 5);
	page_clear(&page);
	OK(memory.held == 0);
	pager_free(p);
	bench_close(&b);
}

static void test_long_answer(void **state)
{
	assert_int_equal(on_loop(body_long_answer), 0);
}

static void test_memory(void **state)
{
	assert_int_equal(on_loop(body_memory), 0);
}

/* ---- resuming ---- */

static void resume_after(const char *rest, int pages, int want_records)
{
	struct bench b;
	struct pager_options o = { 0 };
	struct pager *p;
	struct page page;
	struct err err = { 0 };
	struct buf text = BUF_INIT;
	cJSON *state, *read = NULL;
	struct scan s;

	bench_open(&b, "", rest, NULL, 5, 5000);
	p = pager_of(&b, &o);
	for (int i = 0; i < pages; i++) {
		OK(pager_next(p, &page, &err) == 1);
		page_clear(&page);
	}
	state = pager_state(p);
	pager_free(p);
	json_print(state, &text);
	OK(text.len < 1024);
	OK(json_parse(text.data, text.len, 1024, &read, NULL) == 0);
	o.resume = read;
	p = pager_of(&b, &o);
	cJSON_Delete(state);
	cJSON_Delete(read); /* not needed after pager_new */
	s = (struct scan){ .last_id = -1, .pages = pages };
	while ((s.rc = pager_next(p, &page, &err)) > 0) {
		take_page(&s, &page);
		page_clear(&page);
	}
	page_clear(&page);
	OK(s.rc == 0 && s.records == want_records);
	OK(pager_complete(p, NULL));
	pager_free(p);
	buf_clear(&text);
	bench_close(&b);
}

static void body_resume(void)
{
	static const char offset[] =
		OFFSET(",\"total\":\"count\"") THINGS("/things", "results", "");
	static const char cursor[] = CURSOR THINGS("/things", "data", "");

	scan_defaults(35);
	partner.answer = answer_offset;
	resume_after(offset, 2, 15);
	resume_after(offset, 4, 0);
	partner.answer = answer_cursor;
	last_cursor = "null";
	resume_after(cursor, 1, 25);
	resume_after(cursor, 4, 0); /* the end is remembered: no cursor must not mean the start */
}

static void test_resume(void **state)
{
	assert_int_equal(on_loop(body_resume), 0);
}

/* A state that is not ours: from the start, not a crash. */
static void body_foreign_state(void)
{
	static const char *const states[] = { "{}", "[]",
					      "{\"kind\":\"cursor\",\"cursor\":\"c10\"}",
					      "{\"kind\":\"offset\",\"next\":\"x\"}",
					      "{\"kind\":\"offset\",\"restart\":true}" };

	partner.answer = answer_offset;
	scan_defaults(5);
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		cJSON *state = NULL;
		struct pager_options o = { 0 };
		struct scan s;

		OK(json_parse(states[i], strlen(states[i]), 1000, &state, NULL) == 0);
		o.resume = state;
		s = scan(OFFSET("") THINGS("/things", "results", ""), &o);
		OK(s.rc == 0 && s.records == 5);
		cJSON_Delete(state);
	}
}

static void test_foreign_state(void **state)
{
	assert_int_equal(on_loop(body_foreign_state), 0);
}

/* ---- what is asked ---- */

static void body_since(void)
{
	static const char rest[] = THINGS(
		"/things", "results",
		",\"query\":{\"sort\":\"_id\",\"filters\":\"all\"},\"incremental\":{\"param\":\"filters\","
		"\"value\":\"[{\\\"field\\\":\\\"at\\\",\\\"value\\\":\\\"{since}\\\"}]\",\"format\":\"iso8601_ms\",\"overlap\":\"5m\"},\"updated_at\":\"at\"");
	struct pager_options o = { .since_us = 1700000000123456 };
	struct scan s;

	partner.answer = answer_offset;
	scan_defaults(3);
	s = scan(rest, &o);
	OK(s.rc == 0);
	OK(strcmp(partner.arrivals[0].query,
		  "sort=_id&filters=%5B%7B%22field%22%3A%22at%22%2C%22value%22%3A%222023-11-14T22%3A08%3A20.123Z%22%7D%5D") ==
	   0);
	o.since_us = 0; /* a full scan */
	s = scan(rest, &o);
	OK(s.rc == 0 && strcmp(partner.arrivals[0].query, "sort=_id&filters=all") == 0);
}

static void test_since(void **state)
{
	assert_int_equal(on_loop(body_since), 0);
}

static void format_is(const char *format, const char *want)
{
	struct buf out = BUF_INIT;

	format_time(format, 1700000000123456, &out);
	assert_string_equal(buf_str(&out), want);
	buf_clear(&out);
}

static void test_formats(void **state)
{
	format_is(NULL, "2023-11-14T22:13:20Z");
	format_is("iso8601", "2023-11-14T22:13:20Z");
	format_is("iso8601_ms", "2023-11-14T22:13:20.123Z");
	format_is("epoch", "1700000000");
	format_is("epoch_ms", "1700000000123");
	format_is("%Y-%m-%d %H:%M:%S", "2023-11-14 22:13:20");
}

static void body_parent(void)
{
	struct bench b;
	struct pager_options o = { .parent_id = "a/b" };
	struct pager *p;
	struct err err = { 0 };
	struct scan s;

	partner.answer = answer_offset;
	scan_defaults(3);
	partner.n = 0;
	bench_open(
		&b, "",
		",\"collections\":{\"homes\":{\"get\":\"/homes\",\"records\":\"results\",\"id\":\"id\"" MAP
		"},\"photos\":{\"each\":\"homes\","
		"\"get\":\"/homes/{parent.id}/photos\",\"query\":{\"of\":\"{parent.id}\",\"season\":\"{cfg.season}\"},\"records\":\"results\","
		"\"id\":\"id\",\"table\":\"media\",\"map\":{\"url\":\"name\"}}}",
		NULL, 5, 5000);
	o.collection = manifest_collection(b.manifest, "photos");
	OK(o.collection && pager_new(&b.caller, &o, &p, &err) == -EINVAL &&
	   strstr(err.text, "season"));
	cJSON_AddStringToObject(b.integration.settings, "season", "low");
	OK(pager_new(&b.caller, &o, &p, &err) == 0);
	s = scan_rest(p);
	pager_free(p);
	OK(s.rc == 0 && s.records == 3);
	OK(strcmp(partner.arrivals[0].query, "of=a%2Fb&season=low") == 0);
	OK(strcmp(partner.arrivals[0].path, "/v1/homes/a/b/photos") ==
	   0); /* as decoded by the server: one segment on the wire */
	o.parent_id = NULL;
	OK(pager_new(&b.caller, &o, &p, &err) == -EINVAL && strstr(err.text, "parent.id"));
	bench_close(&b);
}

static void test_parent(void **state)
{
	assert_int_equal(on_loop(body_parent), 0);
}

/* ---- one item ---- */

static void answer_item(struct httpd_request *q, int number)
{
	const char *path = httpd_path(q);

	if (strcmp(path, "/v1/things/7") == 0)
		reply_json(q, 200, "{\"id\":7,\"name\":\"seven\"}");
	else if (strcmp(path, "/v1/things/8") == 0)
		reply_json(q, 200, "{\"results\":{\"id\":8}}");
	else if (strcmp(path, "/v1/things/9") == 0)
		reply_json(q, 200, "{\"results\":[]}");
	else if (strcmp(path, "/v1/things/500") == 0)
		reply_json(q, 400, "{\"message\":\"bad\"}");
	else if (strcmp(path, "/v1/things/200") == 0)
		reply_json(q, 200, "{\"message\":\"thing not found\"}");
	else
		reply_json(q, 404, "{}");
}

static void body_item(void)
{
	struct bench b;
	struct page page;
	struct err err = { 0 };
	const struct manifest_collection *coll;
	static const struct {
		const char *id;
		int rc;
	} cases[] = {
		{ "7", 0 },
		{ "8", 0 },
		{ "9", -EBADMSG },
		{ "404", -ENOENT },
		{ "200", -ENOENT }, /* the manifest says that it is one */
		{ "500", -EREMOTEIO },
		{ "..", -EINVAL },
	};

	partner.answer = answer_item;
	bench_open(
		&b, "",
		THINGS("/things", "results",
		       ",\"detail\":{\"get\":\"/things/{id}\"}") ",\"errors\":[{\"status\":200,\"json\":\"message\",\"contains\":\"not found\","
								 "\"class\":\"client\",\"action\":\"not_there\"}]",
		NULL, 5, 5000);
	coll = &b.manifest->collections[0];
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int rc = fetch_item(&b.caller, coll, cases[i].id, &page, &err);
		int64_t id = 0;

		OK(rc == cases[i].rc);
		OK(rc != -ENOENT || err.action == ACT_NONE);
		OK(rc != 0 || (page.n == 1 && json_int(page.records[0], "id", &id) &&
			       id == cases[i].id[0] - '0'));
		OK(rc != -EREMOTEIO || strstr(buf_str(&page.exchange), "\"status\":400"));
		page_clear(&page);
	}
	OK(strcmp(err.where, "things ..") == 0);
	bench_close(&b);
}

static void test_item(void **state)
{
	assert_int_equal(on_loop(body_item), 0);
}

/* One item that is asked for by parameters, and stands elsewhere in its answer than the many do. */
static void answer_item_by_query(struct httpd_request *q, int number)
{
	const char *id = httpd_query(q, "id");

	if (strcmp(id, "7") == 0)
		reply_json(q, 200, "{\"id\":\"of the answer\",\"one\":{\"it\":{\"id\":7}}}");
	else if (strcmp(id, "8") == 0)
		reply_json(q, 200, "{\"one\":{\"it\":[{\"id\":8}]}}");
	else
		reply_json(q, 200, "{\"results\":[{\"id\":9}]}");
}

static void body_item_by_query(void)
{
	static const struct {
		const char *id;
		int rc;
	} cases[] = { { "7", 0 }, { "8", 0 }, { "a&b", -EBADMSG } };
	struct bench b;
	struct page page;
	struct err err = { 0 };
	int64_t id = 0;

	partner.answer = answer_item_by_query;
	partner.n = 0;
	bench_open(&b, "",
		   ",\"settings\":{\"shape\":{\"default\":\"wide\"}}" THINGS(
			   "/things", "results",
			   ",\"detail\":{\"get\":\"/thing\",\"query\":{\"id\":\"{id}\","
			   "\"as\":\"{cfg.shape}\"},\"records\":\"one.it\"}"),
		   NULL, 5, 5000);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		OK(fetch_item(&b.caller, &b.manifest->collections[0], cases[i].id, &page, &err) ==
		   cases[i].rc);
		OK(cases[i].rc < 0 ||
		   (json_int(page.records[0], "id", &id) && id == cases[i].id[0] - '0'));
		page_clear(&page);
	}
	OK(strcmp(partner.arrivals[0].query, "id=7&as=wide") == 0);
	OK(strcmp(partner.arrivals[2].query, "id=a%26b&as=wide") == 0);
	OK(strstr(err.text, "in one.it"));
	bench_close(&b);
}

static void test_item_by_query(void **state)
{
	assert_int_equal(on_loop(body_item_by_query), 0);
}

static void test_seen(void **state)
{
	struct seen s = { 0 };

	for (uint64_t i = 0; i < 20000; i++)
		assert_true(seen_add(&s, i * 0x9e3779b97f4a7c15ull));
	for (uint64_t i = 0; i < 20000; i++)
		assert_false(seen_add(&s, i * 0x9e3779b97f4a7c15ull));
	seen_clear(&s);
}

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

#define ON_LOOP(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_seen),
		ON_LOOP(test_offset),
		ON_LOOP(test_incomplete),
		ON_LOOP(test_loops),
		ON_LOOP(test_cursor),
		ON_LOOP(test_page),
		ON_LOOP(test_smaller),
		ON_LOOP(test_memory),
		ON_LOOP(test_long_answer),
		ON_LOOP(test_resume),
		ON_LOOP(test_changed),
		ON_LOOP(test_foreign_state),
		ON_LOOP(test_since),
		ON_LOOP(test_parent),
		ON_LOOP(test_item),
		ON_LOOP(test_item_by_query),
	};

	return cmocka_run_group_tests(tests, setup, partner_teardown);
}
