/* A delivery of webhooks as anybody may send it.  The first line is "SCHEME TYPE" (a digit or letter each), then "name: value" lines,
 * an empty one, and the body.  Whatever they say: nothing is genuine without the secret, and what is taken apart becomes
 * jobs that can be read, of the bytes that came. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "drivers/kit/form.h"
#include "drivers/kit/verify.h"
#include "drivers/kit/webhook.h"

#define LINES_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(int holds)
{
	if (!holds)
		abort();
}

static struct manifest *manifest(int which)
{
	static const char *const webhooks[] = {
		"\"event\":\"type|event\",\"event_id\":\"header:x-id\",\"happened_at\":\"at\"",
		"\"records\":\"@\",\"event\":\"type\",\"event_id\":{\"hash\":[\"a\",\"b.c\"]}",
		"\"records\":\"list[*].items\",\"event\":\"header:x-event\",\"event_id\":\"id\","
		"\"integration\":{\"path\":\"who\",\"setting\":\"account\"}",
	};
	static struct manifest *m[3];
	struct buf text = BUF_INIT, problems = BUF_INIT;

	which %= 3;
	if (!m[which]) {
		buf_printf(
			&text,
			"{\"partner\":\"p\",\"manifest\":1,\"api\":{\"base\":{\"production\":"
			"\"https://h\"}},\"webhooks\":{\"verify\":\"github\",%s,\"events\":{\"x\":"
			"{\"do\":\"auth_revoked\"},\"y\":{\"do\":\"ignore\"}}}}",
			webhooks[which]);
		need(manifest_parse("m", text.data, text.len, &m[which], &problems) == 0);
	}
	buf_clear(&text);
	buf_clear(&problems);
	return m[which];
}

struct lines {
	struct {
		const char *name, *value;
	} v[LINES_MAX];
	int n;
};

static const char *line_value(const char *name, void *arg)
{
	const struct lines *l = arg;

	for (int i = 0; i < l->n; i++)
		if (strcasecmp(l->v[i].name, name) == 0)
			return l->v[i].value;
	return NULL;
}

/* What follows the empty line. */
static const char *read_lines(char *text, struct lines *out)
{
	for (;;) {
		size_t n = strcspn(text, "\n");
		char *next = text[n] ? text + n + 1 : text + n, *colon;

		text[n] = '\0';
		colon = strstr(text, ": ");
		if (colon && out->n < LINES_MAX) {
			*colon = '\0';
			out->v[out->n].name = text;
			out->v[out->n++].value = colon + 2;
		}
		if (n == 0 || !*next)
			return next;
		text = next;
	}
}

static void fuzz_verify(int scheme, const struct verify_request *q)
{
	static struct verify_secrets secrets;
	struct manifest_verify v = { .scheme = VERIFY_STANDARD +
					       (enum verify_scheme)(
						       scheme % (VERIFY_NOTHING - VERIFY_STANDARD)),
				     .header = "x-sig",
				     .tolerance_ms = 300000,
				     .key = "k" };
	struct secret json = SECRET_INIT;
	static const char text[] =
		"{\"k\":[\"whsec_dGhpcyBpcyBub3QgdG8gYmUgZ3Vlc3NlZA==\",\"whpk_11qYAYKxCrfVS/"
		"7TyWQHOg7hcvPapiMlrwIaaPcHURo=\",\"sha256:0000000000000000000000000000000000000000"
		"000000000000000000000000\",\"us:er\"]}";
	char why[160];

	if (!secrets.n) {
		secret_set(&json, text, sizeof(text) - 1);
		need(verify_secrets_read(&secrets, "k", &json) == 0);
		secret_clear(&json);
	}
	if (v.scheme == VERIFY_HMAC) {
		v.split = "t=,v1=";
		v.id = "x-id";
		v.signed_bytes = "{method}{url}{id}{ts}{sorted_form}{body}{none}{";
	} else if (v.scheme != VERIFY_HEADER_TOKEN && v.scheme != VERIFY_SHA256_SUFFIX) {
		v.header = NULL;
	}
	need(verify(&v, &secrets, q, why) != VERIFY_GENUINE && memchr(why, '\0', sizeof(why)));
}

static void check_job(const struct webhook_event *e)
{
	char hash[INTAKE_HASH_CHARS + 1];
	struct buf out = BUF_INIT;
	struct job job;
	struct err err;

	webhook_hash(e, 7, hash);
	need(webhook_job(e, NULL, 7, hash, 1, true, &out) == 0 || e->brings_credentials);
	need(strlen(hash) == INTAKE_HASH_CHARS && strlen(e->name) <= 200 && strlen(e->id) <= 300);
	memset(&job, 0, sizeof(job));
	need(out.len > JOB_MAX_BYTES || job_parse(out.data, out.len, &job, &err) == 0);
	need(!job.tree || (job.integration_id == 7 &&
			   json_path(job.args, e->brings_credentials ? "sealed" : "body")));
	job_clear(&job);
	buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = { NULL, "application/json; charset=utf-8",
					     "application/x-www-form-urlencoded",
					     "application/vnd.x+xml", "text/plain" };
	char *text = mem_strndup((const char *)data, size);
	struct lines lines = { .n = 0 };
	int scheme = size > 0 ? data[0] : 0, type = size > 2 ? data[2] : 0;
	const char *body = read_lines(text, &lines);
	struct hook_values headers = { line_value, &lines };
	struct verify_request q = { .method = "POST",
				    .url = "https://h:443/p?bodySHA256=00&x",
				    .path_secret = line_value("path", &lines),
				    .headers = headers,
				    .body = body,
				    .len = strlen(body),
				    .form = type % 5 == 2,
				    .now_ms = 1767323045000 };
	const struct manifest *m = manifest(type / 5);
	struct webhook_delivery d;
	struct err err;

	fuzz_verify(scheme, &q);
	if (webhook_read(m, types[type % 5], q.body, q.len, &d, &err) == 0) {
		if (webhook_split(m, &headers, NULL, line_value("reference", &lines), &d, &err) ==
		    0)
			for (int i = 0; i < d.n && i < 20; i++)
				check_job(&d.v[i]);
		webhook_clear(&d);
	}
	free(text);
	return 0;
}
