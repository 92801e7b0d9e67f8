/* Each kind of secret, in each form that partners and libraries give it, through each way out of a process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/crypto.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "drivers/kit/call_door.h"

static const char *const values[] = {
	"sesame-and-more",
	"s3cr/t+with=&%chars?",
	"p\xc3\xa4ss w\xc3\xb6rd \"quoted\" \\",
	"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl-_x",
	"4711081512345",
};

/* ---- forms ---- */

static void percent(const char *s, bool upper, struct buf *out)
{
	for (; *s; s++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~",
			   *s))
			buf_putc(out, *s);
		else
			buf_printf(out, upper ? "%%%02X" : "%%%02x", (unsigned char)*s);
}

#define FORMS 7
static void form_of(const char *s, int form, struct buf *out)
{
	struct buf pair = BUF_INIT;

	switch (form) {
	case 0:
		buf_puts(out, s);
		break;
	case 1:
	case 2:
		percent(s, form == 1, out);
		break;
	case 3:
		base64_encode(out, s, strlen(s));
		break;
	case 4: /* of HTTP basic */
		buf_printf(&pair, "somebody:%s", s);
		base64_encode(out, pair.data, pair.len);
		break;
	case 5: /* of URLs, as in a JWT */
		buf_printf(&pair, "x%s", s);
		base64_encode(out, pair.data, pair.len);
		for (size_t i = 0; i < out->len; i++)
			out->data[i] = out->data[i] == '+'   ? '-'
				       : out->data[i] == '/' ? '_'
							     : out->data[i];
		break;
	default:
		json_quote(&pair, s, strlen(s));
		buf_append(out, pair.data + 1, pair.len - 2);
	}
	buf_clear(&pair);
}

/* Of what an encoding mixes with its neighbours the first and last few characters may stay. */
static bool shows(const char *text, const char *s, int form)
{
	struct buf said = BUF_INIT;
	size_t cut = form == 4 ? 14 : form == 3 || form == 5 ? 3 : 0;
	bool found;

	form_of(s, form, &said);
	if (form >= 3 && form <= 5) {
		said.len -= 4;
		said.data[said.len] = '\0';
	}
	found = strstr(text, buf_str(&said) + cut) != NULL;
	buf_clear(&said);
	return found;
}

/* ---- ways out ---- */

static void into_err(const char *said, struct buf *out)
{
	struct err e = { 0 };

	err_set(&e, 0, ERR_CLIENT, "status 4xx", "status 400: %s, indeed", said);
	buf_puts(out, e.text);
}

static void into_log(const char *said, struct buf *out)
{
	static char line[65536];
	int sink[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, sink), 0);
	dup2(sink[1], STDERR_FILENO);
	log_event(LOG_ERROR, "event", LS("reason", said));
	dup2(saved, STDERR_FILENO);
	n = recv(sink[0], line, sizeof(line) - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	buf_append(out, line, (size_t)n);
	close(saved);
	close(sink[0]);
	close(sink[1]);
}

enum place { IN_PATH, IN_QUERY, IN_REQUEST, IN_HEADER, IN_ANSWER, IN_DETAIL, PLACES };

static void into_exchange(const char *said, enum place place, struct buf *out)
{
	struct manifest m = { .partner = "acme", .base_production = "https://a.example" };
	struct driver d = { .manifest = &m };
	struct integration i = { .id = 1, .environment = (char *)"production" };
	struct door door = { 0 };
	struct caller c = { .door = &door, .driver = &d, .integration = &i };
	char *path = mem_printf(place == IN_PATH    ? "/x/%s/y"
				: place == IN_QUERY ? "/x?a=1&q=%s&b=2"
						    : "/x",
				said),
	     *body = mem_printf("before %s after", said);
	struct call_spec spec = { .endpoint = "/x", .method = "POST", .path = path };
	struct call_result r;

	call_result_init(&r);
	r.http.status = place == IN_DETAIL ? 0 : 400;
	if (place == IN_DETAIL) {
		r.http.failure = "network";
		snprintf(r.http.detail, sizeof(r.http.detail), "%s", said);
	}
	if (place == IN_REQUEST) {
		spec.body = body;
		spec.body_len = strlen(body);
	}
	if (place == IN_ANSWER)
		buf_puts(&r.http.body, body);
	if (place == IN_HEADER) {
		buf_append(&r.http.headers, "x-echo", 7);
		buf_append(&r.http.headers, said, strlen(said) + 1);
	}
	call_exchange_print(&c, &spec, &r, out);
	call_result_clear(&r);
	door_forget(&door);
	idmap_clear(&door.routes);
	while (door.partners) {
		struct door_partner *p = door.partners;

		door.partners = p->next;
		http_pool_free(p->pool);
		free(p->name);
		free(p);
	}
	free(path);
	free(body);
}

/* As Postgres gets it. */
static void into_rejected(const char *said, struct buf *out)
{
	struct buf item = BUF_INIT;
	struct pg_params params;

	buf_puts(&item, "{\"note\":");
	json_quote(&item, said, strlen(said));
	buf_putc(&item, '}');
	struct rejected v = { .integration_id = 1,
			      .collection = "things",
			      .external_id = "1",
			      .reason = said,
			      .item_json = buf_str(&item) };
	pg_params_init(&params);
	rejected_insert_params(&params, &v, 1);
	for (int i = 0; i < params.n; i++)
		for (int k = 0; k < params.v[i].len; k++)
			buf_putc(out, params.v[i].bytes[k] ? params.v[i].bytes[k] : ' ');
	pg_params_clear(&params);
	buf_clear(&item);
}

static void way_out(int way, const char *said, struct buf *out)
{
	if (way < PLACES)
		into_exchange(said, (enum place)way, out);
	else if (way == PLACES)
		into_err(said, out);
	else if (way == PLACES + 1)
		into_log(said, out);
	else
		into_rejected(said, out);
}

static void test_no_secret_shows(void **state)
{
	struct secret s = SECRET_INIT;

	assert_int_equal(loop_init(), 0);
	log_init("test", LOG_INFO, false);
	for (size_t v = 0; v < ARRAY_LEN(values); v++) {
		secret_set(&s, values[v], strlen(values[v]));
		for (int form = 0; form < FORMS; form++)
			for (int way = 0; way < PLACES + 3; way++) {
				struct buf said = BUF_INIT, out = BUF_INIT;

				form_of(values[v], form, &said);
				way_out(way, buf_str(&said), &out);
				if (shows(buf_str(&out), values[v], form) ||
				    shows(buf_str(&out), values[v], 0) ||
				    !strstr(buf_str(&out), "***"))
					fail_msg("value %zu, form %d, way %d: %s", v, form, way,
						 buf_str(&out));
				buf_clear(&said);
				buf_clear(&out);
			}
		secret_clear(&s);
	}
	loop_close();
}

/* A number that is a secret stands in JSON without quotes. */
static void test_a_number_in_an_item(void **state)
{
	struct secret s = SECRET_INIT;
	struct rejected v = { .integration_id = 1,
			      .collection = "things",
			      .reason = "bad",
			      .item_json = "{\"pin\":4711081512345,\"b\":1}" };
	struct pg_params params;
	bool found = false;

	secret_set(&s, "4711081512345", 13);
	pg_params_init(&params);
	rejected_insert_params(&params, &v, 1);
	for (int i = 0; i < params.n; i++) {
		static const char want[] = "\"{\\\"pin\\\":***,\\\"b\\\":1}\"";

		found |= memmem(params.v[i].bytes, (size_t)params.v[i].len, want, strlen(want)) !=
			 NULL;
		assert_null(memmem(params.v[i].bytes, (size_t)params.v[i].len, "47110815", 8));
	}
	assert_true(found);
	pg_params_clear(&params);
	secret_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_secret_shows),
		cmocka_unit_test(test_a_number_in_an_item),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
