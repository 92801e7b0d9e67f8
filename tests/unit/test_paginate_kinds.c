/* The ways of paging that a cursor in the query is not: each read to its end, resumed, and led astray. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/kit/paginate_parts.h"
#include "tests/unit/partner.h"

#define MAP ",\"table\":\"resources\",\"map\":{\"name\":\"name\"}}}"
#define THINGS(more) ",\"collections\":{\"things\":{\"records\":\"data\",\"id\":\"id\"," more MAP

static int items;

/* {"data":[from..],MORE}, ten a page. */
static void append_page(struct buf *out, int from, int n)
{
	buf_puts(out, "{\"data\":[");
	for (int i = from; i < from + n && i < items; i++)
		buf_printf(out, "%s{\"id\":%d,\"name\":\"thing %d\"}", i > from ? "," : "", i, i);
	buf_putc(out, ']');
}

static void answer_with(struct httpd_request *q, struct buf *out)
{
	buf_putc(out, '}');
	httpd_reply(q, 200, "application/json", out->data, out->len);
	buf_clear(out);
}

static int query_int(struct httpd_request *q, const char *name, int fallback)
{
	const char *s = httpd_query(q, name);

	return s ? (int)strtol(s, NULL, 10) : fallback;
}

struct scan {
	int rc, pages, records;
	bool complete;
	char why[160], text[300], rule[64];
	enum err_class class;
};

static struct pager *pager_of(struct bench *b, const cJSON *resume, int64_t since_us)
{
	struct pager_options o = { .collection = &b->manifest->collections[0],
				   .resume = resume,
				   .since_us = since_us };
	struct pager *p = NULL;
	struct err err = { 0 };

	if (pager_new(&b->caller, &o, &p, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	OK(p != NULL);
	return p;
}

/* One page, confirmed where it must be. */
static int take(struct scan *s, struct pager *p)
{
	struct err err = { 0 };
	struct page page;

	s->rc = pager_next(p, &page, &err);
	if (s->rc > 0) {
		int rc = pager_ack(p, &page, &err);

		s->pages++;
		s->records += page.n;
		if (rc < 0)
			s->rc = rc;
	}
	page_clear(&page);
	keep(s->text, sizeof(s->text), err.text);
	keep(s->rule, sizeof(s->rule), err.rule);
	s->class = err.class;
	return s->rc;
}

static struct scan rest_of(struct pager *p)
{
	const char *why = NULL;
	struct scan s = { 0 };

	while (take(&s, p) > 0)
		;
	s.complete = pager_complete(p, &why);
	keep(s.why, sizeof(s.why), why);
	return s;
}

/* All of it, in attempts of so many pages (0: in one), each from the state of the one before. */
static struct scan scan_in(const char *api, const char *rest, int pages)
{
	struct scan s = { 0 };
	cJSON *state = NULL;
	bool more = true;

	partner.n = 0;
	redis_run("FLUSHALL", NULL);
	while (more) {
		struct bench b;
		struct pager *p;

		bench_open(&b, api, rest, NULL, 5, 5000);
		p = pager_of(&b, state, 0);
		for (int i = 0; p && more && (!pages || i < pages); i++)
			more = take(&s, p) > 0;
		cJSON_Delete(state);
		state = p ? pager_state(p) : NULL;
		s.complete = p && pager_complete(p, NULL);
		more = more && p;
		pager_free(p);
		bench_close(&b);
	}
	cJSON_Delete(state);
	return s;
}

static struct scan scan(const char *rest)
{
	return scan_in("", rest, 0);
}

/* ---- next_url ---- */

static const char *next_form; /* %s: the root, %d: where it starts */
static int end_form;

static void answer_next(struct httpd_request *q, int number)
{
	int from = query_int(q, "from", 0);
	struct buf out = BUF_INIT;

	append_page(&out, from, 10);
	buf_puts(&out, ",\"links\":{\"next\":");
	if (from + 10 < items) {
		buf_putc(&out, '"');
		for (const char *f = next_form; *f; f++) {
			if (*f == '^')
				buf_puts(&out, partner.root);
			else if (*f == '#')
				buf_putint(&out, from + 10);
			else
				buf_putc(&out, *f);
		}
		buf_putc(&out, '"');
	} else {
		buf_puts(&out, end_form == 0 ? "null" : end_form == 1 ? "\"\"" : "false");
	}
	buf_putc(&out, '}');
	answer_with(q, &out);
}

#define NEXT_URL                                                              \
	",\"pagination\":{\"kind\":\"next_url\",\"next\":\"links.next\","     \
	"\"limit_param\":\"size\",\"size\":10}" THINGS("\"get\":\"/things\"," \
						       "\"query\":{\"sort\":\"id\"}")

static void body_next_url(void)
{
	static const char *const forms[] = {
		"^/v1/things?from=#",
		"https://api.acme.example/v1/things?from=#", /* the partner's own name for itself */
		"http://api.acme.example/v1/things?from=#",  /* which is served by https alone */
		"/v1/things?from=#",
		"?from=#",
		"things?from=#",
	};
	struct scan s;

	partner.answer = answer_next;
	items = 35;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		next_form = forms[i];
		end_form = (int)i % 3;
		s = scan(NEXT_URL);
		OK(s.rc == 0 && s.complete && s.records == 35 && s.pages == 4);
		OK(strcmp(partner.arrivals[0].query, "sort=id&size=10") == 0);
		OK(strcmp(partner.arrivals[1].path, "/v1/things") == 0 &&
		   strcmp(partner.arrivals[1].query, "from=10") == 0);
		s = scan_in("", NEXT_URL, 1);
		OK(s.rc == 0 && s.complete && s.records == 35 && partner.n == 4);
	}
}

static void body_next_url_astray(void)
{
	static const char *const forms[] = {
		"https://evil.example/v1/things?from=#",
		"//evil.example/v1/things?from=#",
		"^.evil.example/v1/things?from=#",
		"^@evil.example/v1/things?from=#",
		"file:///v1/things?from=#",
		"/v1/../admin?from=#",
	};
	struct scan s;

	partner.answer = answer_next;
	items = 35;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		next_form = forms[i];
		s = scan(NEXT_URL);
		OK(s.rc < 0 && s.class == ERR_DATA && !s.complete && partner.n == 1);
	}
	next_form = "^/v1/things?from=10"; /* itself again, from the second page on */
	s = scan(NEXT_URL);
	OK(s.rc == -EBADMSG && strcmp(s.rule, "paging loop") == 0 && partner.n == 2);
}

/* A key in the query comes back with the address: it stays out of the checkpoint, and the door adds its own. */
static void body_next_url_key(void)
{
	static const char answer[] =
		"{\"data\":[{\"id\":1}],\"links\":{\"next\":\"/v1/things?key=not-for-anyone&from=2\"}}";
	struct manifest_auth *auth;
	struct err err = { 0 };
	struct page page;
	struct bench b;
	struct pager *p;

	bench_open(&b, "", NEXT_URL, NULL, 5, 5000);
	auth = &b.manifest->auth;
	auth->kind = AUTH_API_KEY;
	auth->place = AUTH_IN_QUERY;
	auth->name = "key";
	p = pager_of(&b, NULL, 0);
	page_init(&page, 1);
	OK(json_parse(answer, strlen(answer), 1000, &page.result.json, NULL) == 0);
	OK(page_records(&page, p->coll, &err) == 0 && pager_take(p, &page, &err) == 0);
	OK(p->cursor && strstr(p->cursor, "/v1/things?from=2") && !strstr(p->cursor, "not-for"));
	page_clear(&page);
	pager_free(p);
	bench_close(&b);
}

/* ---- none ---- */

/* How many there are in an answer. */
static int records_of(const char *api, const char *answer, int *n)
{
	struct err err = { 0 };
	struct page page;
	struct bench b;
	struct pager *p;
	int rc;

	bench_open(&b, "", api, NULL, 5, 5000);
	p = pager_of(&b, NULL, 0);
	page_init(&page, 1);
	OK(json_parse(answer, strlen(answer), 1000, &page.result.json, NULL) == 0);
	rc = page_records(&page, p->coll, &err);
	*n = page.n;
	page_clear(&page);
	pager_free(p);
	bench_close(&b);
	return rc;
}

static void body_alone(void)
{
	static const char none[] =
		",\"pagination\":{\"kind\":\"none\"}" THINGS("\"get\":\"/things\"");
	int n;

	OK(records_of(none, "{\"data\":{\"id\":1}}", &n) == 0 && n == 1);
	OK(records_of(none, "{\"data\":[{\"id\":1},{\"id\":2}]}", &n) == 0 && n == 2);
	OK(records_of(none, "{\"data\":{\"name\":\"no id\"}}", &n) == -EBADMSG);
	OK(records_of(NEXT_URL, "{\"data\":{\"id\":1}}", &n) == -EBADMSG); /* a page is a list */
}

/* ---- link ---- */

static bool loose_link;

static void answer_link(struct httpd_request *q, int number)
{
	int from = query_int(q, "from", 0);
	struct buf out = BUF_INIT;
	char header[300];

	append_page(&out, from, 10);
	if (from + 10 < items) {
		httpd_add_header(q, "Link", "</v1/things>; rel=\"first\"");
		snprintf(
			header, sizeof(header),
			loose_link
				? "<%s/v1/things?from=0>; rel=prev , <%s/v1/things?from=%d>;rel=\"last NEXT\""
				: "<%.0s%s/v1/things?from=%d>; rel=\"next\"",
			partner.root, partner.root, from + 10);
		httpd_add_header(q, "Link", header);
	}
	answer_with(q, &out);
}

static void body_link(void)
{
	static const char link[] =
		",\"pagination\":{\"kind\":\"link\",\"limit_param\":\"per_page\",\"size\":10}" THINGS(
			"\"get\":\"/things\"");
	struct scan s;

	partner.answer = answer_link;
	items = 35;
	for (int i = 0; i < 2; i++) {
		loose_link = i;
		s = scan(link);
		OK(s.rc == 0 && s.complete && s.records == 35 && partner.n == 4);
		OK(strcmp(partner.arrivals[0].query, "per_page=10") == 0);
	}
	s = scan_in("", link, 2);
	OK(s.rc == 0 && s.complete && s.records == 35 && partner.n == 4);
}

/* ---- keyset ---- */

static bool deaf;     /* ignores the parameter: the first page for ever */
static bool no_key;   /* a record without what leads on */
static bool has_more; /* says so */

static void answer_keyset(struct httpd_request *q, int number)
{
	int from = deaf ? 0 : query_int(q, "afterId", -1) + 1;
	struct buf out = BUF_INIT;

	if (no_key)
		buf_puts(&out, "{\"data\":[{\"id\":null,\"name\":\"x\"}]");
	else
		append_page(&out, from, 10);
	if (has_more)
		buf_printf(&out, ",\"has_more\":%s", from + 10 < items ? "true" : "false");
	answer_with(q, &out);
}

#define KEYSET(more)                                                                                                           \
	",\"pagination\":{\"kind\":\"keyset\",\"param\":\"afterId\",\"key\":\"id\",\"limit_param\":\"limit\",\"size\":10" more \
	"}" THINGS("\"get\":\"/things\"")

static void body_keyset(void)
{
	struct scan s;

	partner.answer = answer_keyset;
	deaf = no_key = has_more = false;
	items = 35;
	s = scan(KEYSET(""));
	OK(s.rc == 0 && s.complete && s.records == 35 && partner.n == 4);
	OK(strcmp(partner.arrivals[0].query, "limit=10") == 0);
	OK(strcmp(partner.arrivals[3].query, "limit=10&afterId=29") == 0);
	s = scan(KEYSET(",\"stop\":[\"empty\"]"));
	OK(s.rc == 0 && s.complete && s.records == 35 && partner.n == 5);
	items = 30;
	has_more = true;
	s = scan(KEYSET(",\"stop\":[\"has_more:has_more\"]"));
	OK(s.rc == 0 && s.complete && s.records == 30 && partner.n == 3);
	items = 35;
	s = scan_in("", KEYSET(""), 1);
	OK(s.rc == 0 && s.complete && s.records == 35 && partner.n == 4);
	/* three of each page are read again: 0-9, 7-16, 14-23, 21-30, 28-34 */
	s = scan(KEYSET(",\"rescan_overlap\":3"));
	OK(s.rc == 0 && s.complete && s.records == 47 && partner.n == 5);
	OK(strcmp(partner.arrivals[1].query, "limit=10&afterId=6") == 0);
}

static void body_keyset_astray(void)
{
	struct scan s;

	partner.answer = answer_keyset;
	items = 35;
	has_more = false;
	deaf = true; /* a parameter that is silently ignored */
	s = scan(KEYSET(""));
	OK(s.rc == -EBADMSG && strcmp(s.rule, "paging loop") == 0 && partner.n == 2);
	deaf = false;
	no_key = true;
	s = scan(KEYSET(""));
	OK(s.rc == -EBADMSG && strcmp(s.rule, "keyset") == 0 && strstr(s.text, "\"id\""));
	no_key = false;
}

/* ---- offset that goes back ---- */

static int gone; /* so many of the first are deleted while the list is read */

static void answer_offset(struct httpd_request *q, int number)
{
	int from = query_int(q, "skip", 0) + (number > 1 ? gone : 0);
	struct buf out = BUF_INIT;

	append_page(&out, from, 10);
	buf_printf(&out, ",\"count\":%d", number > 1 ? items - gone : items);
	answer_with(q, &out);
}

static void body_overlap(void)
{
	static const char rest[] =
		",\"pagination\":{\"kind\":\"offset\",\"offset_param\":\"skip\",\"limit_param\":\"limit\",\"size\":10,"
		"\"total\":\"count\",\"rescan_overlap\":2}" THINGS("\"get\":\"/things\"");
	struct scan s;

	partner.answer = answer_offset;
	items = 25;
	gone = 0;
	s = scan(rest); /* 0-9, 8-17, 16-24 */
	OK(s.rc == 0 && s.complete && s.records == 29 && partner.n == 3);
	OK(strcmp(partner.arrivals[1].query, "limit=10&skip=8") == 0);
	gone = 2; /* what moved up by two is on the next page still */
	s = scan(rest);
	OK(s.rc == 0 && s.complete && strcmp(partner.arrivals[1].query, "limit=10&skip=8") == 0);
	s = scan_in("", rest, 1);
	OK(s.rc == 0 && s.complete);
}

/* ---- in the body, in the path ---- */

static void answer_body(struct httpd_request *q, int number)
{
	struct buf out = BUF_INIT;
	cJSON *asked = NULL;
	const char *page;
	size_t len;
	const char *body = httpd_body(q, &len);
	int from = 0;

	OK(strcmp(httpd_method(q), "POST") == 0);
	OK(json_parse(body, len, 10000, &asked, NULL) == 0);
	page = json_str(asked, "paging.page");
	if (page)
		from = (int)strtol(page + 1, NULL, 10);
	append_page(&out, from, 10);
	if (from + 10 < items)
		buf_printf(&out, ",\"metadata\":{\"next_page\":\"c%d\"}", from + 10);
	answer_with(q, &out);
	cJSON_Delete(asked);
}

#define IN_BODY                                                                                             \
	",\"pagination\":{\"kind\":\"cursor\",\"in\":\"body\",\"cursor_param\":\"paging.page\",\"cursor\":" \
	"\"metadata.next_page\",\"limit_param\":\"rows\",\"size\":10}" THINGS(                              \
		"\"post\":\"/orders\",\"json\":{\"paging\":{\"x\":1},\"of\":\"{cfg.city}\",\"n\":[true]},"  \
		"\"query\":{\"lang\":\"en\"},\"updated_at\":\"u\",\"incremental\":{\"param\":\"since.at\"," \
		"\"format\":\"epoch\",\"overlap\":\"0s\"}")

static void body_in_body(void)
{
	struct bench b;
	struct pager *p;
	struct scan s;

	partner.answer = answer_body;
	partner.n = 0;
	items = 35;
	bench_open(&b, "", IN_BODY, NULL, 5, 5000);
	cJSON_AddStringToObject(b.integration.settings, "city", "a\"b");
	p = pager_of(&b, NULL, 1700000000000000);
	s = rest_of(p);
	pager_free(p);
	OK(s.rc == 0 && s.complete && s.records == 35 && partner.n == 4);
	OK(strcmp(partner.arrivals[0].body,
		  "{\"paging\":{\"x\":1},\"of\":\"a\\\"b\",\"n\":[true],\"since\":{\"at\":1700000000},\"rows\":10}") ==
	   0);
	OK(strcmp(partner.arrivals[1].body,
		  "{\"paging\":{\"x\":1,\"page\":\"c10\"},\"of\":\"a\\\"b\",\"n\":[true],\"since\":{\"at\":1700000000},"
		  "\"rows\":10}") == 0);
	OK(strcmp(partner.arrivals[1].query, "lang=en") == 0);
	partner.n = 0;
	p = pager_of(&b, NULL, 0); /* a full scan, in two attempts */
	s = (struct scan){ 0 };
	OK(take(&s, p) == 1 && take(&s, p) == 1);
	cJSON *state = pager_state(p);
	pager_free(p);
	p = pager_of(&b, state, 0);
	cJSON_Delete(state);
	s = rest_of(p);
	OK(s.rc == 0 && s.complete && s.records == 15 && partner.n == 4);
	OK(!strstr(partner.arrivals[0].body, "since"));
	pager_free(p);
	bench_close(&b);
}

/* The same as a form: Longshore's names, the partner's brackets. */
static void answer_form(struct httpd_request *q, int number)
{
	struct buf out = BUF_INIT;

	append_page(&out, 0, 10);
	answer_with(q, &out);
}

static void body_form(void)
{
	static const char wanted[] =
		"paging%5Bx%5D=a%20%26%3D&of%5B%5D=1&of%5B%5D=b&deep%5Ba%5D%5Bb%5D%5B%5D=true&rows=10";
	struct scan s;

	partner.answer = answer_form;
	items = 3;
	s = scan_in(
		",\"body\":\"form\"",
		",\"pagination\":{\"kind\":\"cursor\",\"in\":\"body\",\"cursor_param\":\"page\",\"cursor\":\"next\","
		"\"limit_param\":\"rows\",\"size\":10}" THINGS(
			"\"post\":\"/orders\",\"json\":{\"paging\":{\"x\":\"a &=\"},\"of\":[1,\"b\"],\"none\":null,"
			"\"deep\":{\"a\":{\"b\":[true]}}}"),
		0);
	OK(s.rc == 0 && s.complete && s.records == 3);
	OK(strcmp(partner.arrivals[0].body, wanted) == 0);
}

static void answer_path(struct httpd_request *q, int number)
{
	const char *last = strstr(httpd_path(q), "/feed/") + 6;
	struct buf out = BUF_INIT;
	int from = strcmp(last, "start") == 0 ? 0 : (int)strtol(last, NULL, 10);

	append_page(&out, from, 10);
	if (from + 10 < items)
		buf_printf(&out, ",\"next\":\"%d/x\"", from + 10);
	answer_with(q, &out);
}

static void answer_page_path(struct httpd_request *q, int number)
{
	int page = (int)strtol(strrchr(httpd_path(q), '/') + 1, NULL, 10);
	struct buf out = BUF_INIT;

	append_page(&out, page * 10, 10);
	answer_with(q, &out);
}

static void answer_bad_path(struct httpd_request *q, int number)
{
	struct buf out = BUF_INIT;

	append_page(&out, 0, 10);
	buf_puts(&out, ",\"next\":\"..\"");
	answer_with(q, &out);
}

#define CURSOR_PATH                                                                           \
	",\"pagination\":{\"kind\":\"cursor\",\"in\":\"path\",\"cursor\":\"next\",\"first\":" \
	"\"start\"}" THINGS("\"get\":\"/feed/{cursor}\"")

static void body_in_path(void)
{
	struct scan s;

	partner.answer = answer_path;
	items = 35;
	s = scan(CURSOR_PATH);
	OK(s.rc == 0 && s.complete && s.records == 35);
	OK(strcmp(partner.arrivals[0].path, "/v1/feed/start") == 0);
	partner.answer = answer_page_path;
	s = scan(",\"pagination\":{\"kind\":\"page\",\"in\":\"path\",\"first\":0}" THINGS(
		"\"get\":\"/pages/{cursor}\""));
	OK(s.rc == 0 && s.complete && s.records == 35 && partner.n == 4);
	OK(strcmp(partner.arrivals[1].path, "/v1/pages/1") == 0);
	partner.answer = answer_bad_path;
	s = scan(CURSOR_PATH);
	OK(s.rc == -EINVAL && s.class == ERR_DATA && partner.n == 1);
}

/* ---- a queue ---- */

static struct {
	int first; /* what came before is confirmed */
	int acks;
	bool deaf;  /* confirms nothing */
	int refuse; /* the ack with this number fails */
} queue;

static void answer_queue(struct httpd_request *q, int number)
{
	struct buf out = BUF_INIT;
	cJSON *said = NULL;
	const cJSON *id;
	size_t len;
	const char *body = httpd_body(q, &len);

	if (strcmp(httpd_method(q), "GET") == 0) {
		append_page(&out, queue.first, 10);
		answer_with(q, &out);
		return;
	}
	OK(json_parse(body, len, 10000, &said, NULL) == 0);
	if (++queue.acks == queue.refuse) {
		reply_json(q, 503, "{}");
	} else {
		for (id = json_path(said, "confirmed")->child; id; id = id->next)
			if (!queue.deaf && strtol(id->valuestring, NULL, 10) == queue.first)
				queue.first++;
		reply_json(q, 200, "{}");
	}
	cJSON_Delete(said);
}

#define QUEUE                                                                                         \
	",\"pagination\":{\"kind\":\"ack_queue\",\"limit_param\":\"n\",\"size\":10,\"ack\":{\"put\":" \
	"\"/things/done\",\"json\":{\"confirmed\":\"{ids}\"}}}" THINGS("\"get\":\"/things\"")

static void body_queue(void)
{
	struct scan s;

	partner.answer = answer_queue;
	items = 25;
	memset(&queue, 0, sizeof(queue));
	s = scan(QUEUE);
	OK(s.rc == 0 && s.complete && s.records == 25 && queue.acks == 3 && queue.first == 25);
	/* read, then confirmed, then read on */
	OK(strcmp(partner.arrivals[0].method, "GET") == 0 &&
	   strcmp(partner.arrivals[1].method, "PUT") == 0 &&
	   strcmp(partner.arrivals[2].method, "GET") == 0);
	OK(strcmp(partner.arrivals[1].body,
		  "{\"confirmed\":[\"0\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}") ==
	   0);
	memset(&queue, 0, sizeof(queue));
	s = scan_in("", QUEUE, 1); /* each attempt goes on: there is no place to lose */
	OK(s.rc == 0 && s.complete && s.records == 25 && queue.first == 25);
	memset(&queue, 0, sizeof(queue));
	queue.refuse = 2; /* stored, not confirmed */
	s = scan(QUEUE);
	OK(s.rc == -EREMOTEIO && s.class == ERR_TRANSIENT && s.records == 20 && queue.first == 10);
	s = scan(QUEUE); /* the same ten again */
	OK(s.rc == 0 && s.complete && s.records == 15 && queue.first == 25);
	memset(&queue, 0, sizeof(queue));
	queue.deaf = true;
	s = scan(QUEUE);
	OK(s.rc == -EBADMSG && strstr(s.text, "after they were acknowledged") && partner.n == 3);
}

static void answer_one_by_one(struct httpd_request *q, int number)
{
	struct buf out = BUF_INIT;

	if (strcmp(httpd_method(q), "GET") == 0) {
		append_page(&out, queue.first, 2);
		answer_with(q, &out);
		return;
	}
	queue.first++;
	httpd_reply(q, 204, NULL, NULL, 0);
}

static void body_queue_one(void)
{
	struct scan s;

	partner.answer = answer_one_by_one;
	items = 3;
	memset(&queue, 0, sizeof(queue));
	s = scan(
		",\"pagination\":{\"kind\":\"ack_queue\",\"ack\":{\"id\":\"name\",\"post\":\"/things/{id}/ack\","
		"\"json\":{\"ref\":\"{id}!\"}}}" THINGS("\"get\":\"/things\""));
	OK(s.rc == 0 && s.complete && s.records == 3 && queue.first == 3);
	OK(strcmp(partner.arrivals[1].path, "/v1/things/thing%200/ack") == 0 ||
	   strcmp(partner.arrivals[1].path, "/v1/things/thing 0/ack") == 0);
	OK(strcmp(partner.arrivals[2].body, "{\"ref\":\"thing 1!\"}") == 0);
}

/* ---- many by their ids ---- */

static void answer_ids(struct httpd_request *q, int number)
{
	struct buf out = BUF_INIT;

	append_page(&out, 3, 2);
	answer_with(q, &out);
}

static void body_batch(void)
{
	static const char *const ids[] = { "3", "a&b", "4" };
	struct err err = { 0 };
	struct page page;
	struct bench b;

	partner.answer = answer_ids;
	partner.n = 0;
	items = 10;
	bench_open(
		&b, "",
		",\"settings\":{\"shape\":{\"default\":\"1\"}}" THINGS(
			"\"get\":\"/things\",\"detail\":{\"get\":\"/things/{id}\",\"batch\":{\"get\":"
			"\"/things\",\"query\":{\"ids\":\"[{ids}]\",\"full\":\"{cfg.shape}\"},\"join\":\"; \"}}"),
		NULL, 5, 5000);
	OK(b.manifest->collections[0].batch.max == 50);
	OK(fetch_items(&b.caller, &b.manifest->collections[0], ids, 3, &page, &err) == 0);
	OK(page.n == 2 && page.last && page.observed_us > 0);
	OK(strcmp(partner.arrivals[0].query, "ids=%5B3%3B%20a%26b%3B%204%5D&full=1") == 0);
	page_clear(&page);
	bench_close(&b);
}

/* ---- cursors that live for a while ---- */

static int64_t lives_ms;
static int64_t given_ms;

/* A cursor that is too old is refused, and Redis' clock is what we go by. */
static void answer_mortal(struct httpd_request *q, int number)
{
	const char *after = httpd_query(q, "after");
	int from = after ? (int)strtol(after, NULL, 10) : 0;
	struct buf out = BUF_INIT;

	if (after && clock_mono_ms() - given_ms > lives_ms) {
		reply_json(q, 400, "{\"error\":\"page token expired\"}");
		return;
	}
	given_ms = clock_mono_ms();
	append_page(&out, from, 10);
	if (from + 10 < items)
		buf_printf(&out, ",\"next\":\"%d\"", from + 10);
	answer_with(q, &out);
}

#define MORTAL(life)                                                                           \
	",\"pagination\":{\"kind\":\"cursor\",\"cursor_param\":\"after\",\"cursor\":\"next\"," \
	"\"expires\":\"" life "\"}" THINGS("\"get\":\"/things\"")

/* The state says when its cursor was given: told that it was long ago, the scan starts over. */
static void body_expired(void)
{
	struct bench b;
	struct pager *p;
	struct scan s = { 0 };
	cJSON *state;

	partner.answer = answer_mortal;
	lives_ms = INT64_C(1) << 40;
	items = 35;
	partner.n = 0;
	bench_open(&b, "", MORTAL("3h"), NULL, 5, 5000);
	p = pager_of(&b, NULL, 0);
	OK(take(&s, p) == 1 && take(&s, p) == 1);
	state = pager_state(p);
	pager_free(p);
	p = pager_of(&b, state, 0); /* young enough: it goes on */
	s = rest_of(p);
	OK(s.rc == 0 && s.complete && s.records == 15);
	pager_free(p);
	cJSON_SetNumberHelper(cJSON_GetObjectItem(state, "at"), 1000);
	p = pager_of(&b, state, 0);
	s = rest_of(p);
	OK(s.rc == 0 && s.complete && s.records == 35);
	pager_free(p);
	/* refused by the partner before our time: once it is half as old */
	lives_ms = -1;
	int64_t half = redis_now_ms(redis) - 2 * 3600 * 1000;
	cJSON_SetNumberHelper(cJSON_GetObjectItem(state, "at"), (double)half);
	p = pager_of(&b, state, 0);
	partner.n = 0;
	s = (struct scan){ 0 };
	OK(take(&s, p) == 1 && partner.n == 2 && partner.arrivals[1].query[0] == '\0');
	OK(take(&s, p) == -EREMOTEIO &&
	   s.class == ERR_CLIENT); /* a young one: an error like others */
	pager_free(p);
	cJSON_Delete(state);
	bench_close(&b);
}

/* Each page comes after the last one's cursor is dead: that does not go on for ever. */
static void body_restarts_end(void)
{
	struct bench b;
	struct pager *p;
	struct scan s;

	partner.answer = answer_mortal;
	lives_ms = INT64_C(1) << 40;
	items = 35;
	bench_open(&b, "", MORTAL("3h"), NULL, 5, 5000);
	p = pager_of(&b, NULL, 0);
	s = (struct scan){ 0 };
	for (int i = 0; i < 4; i++) {
		OK(take(&s, p) == 1);
		p->cursor_at_ms = 1000;
	}
	OK(take(&s, p) == -EBADMSG && strstr(s.text, "expires before the scan can end"));
	pager_free(p);
	bench_close(&b);
}

#define TEST(name)                                         \
	static void test_##name(void **state)              \
	{                                                  \
		assert_int_equal(on_loop(body_##name), 0); \
	}

TEST(next_url)
TEST(next_url_astray)
TEST(next_url_key)
TEST(alone)
TEST(link)
TEST(keyset)
TEST(keyset_astray)
TEST(overlap)
TEST(in_body)
TEST(form)
TEST(in_path)
TEST(queue)
TEST(queue_one)
TEST(batch)
TEST(expired)
TEST(restarts_end)

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
	const struct CMUnitTest tests[] = {
		ON_LOOP(next_url), ON_LOOP(next_url_astray), ON_LOOP(next_url_key),
		ON_LOOP(link),     ON_LOOP(keyset),          ON_LOOP(keyset_astray),
		ON_LOOP(overlap),  ON_LOOP(in_body),         ON_LOOP(form),
		ON_LOOP(in_path),  ON_LOOP(queue),           ON_LOOP(queue_one),
		ON_LOOP(batch),    ON_LOOP(expired),         ON_LOOP(restarts_end),
		ON_LOOP(alone),
	};

	return cmocka_run_group_tests(tests, setup, partner_teardown);
}
