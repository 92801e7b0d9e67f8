/* A partner that needs C for everything: all seven hooks, each as small as one can be. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "drivers/hooks.h"

/* SHA-256 of the parts, one after the other, in hex. */
static const char *proof(struct arena *a, const char *key, const char *text, size_t len)
{
	char *all = arena_printf(a, "%s:%.*s", key ? key : "", (int)len, text);
	char *hex = arena_alloc(a, 2 * SHA256_BYTES + 1);
	uint8_t sum[SHA256_BYTES];

	crypto_sha256(all, strlen(all), sum);
	crypto_hex(sum, sizeof(sum), hex);
	return hex;
}

/* ---- lines of id;name;cents ---- */

static void put_field(struct buf *out, const char *name, const char *s, size_t n)
{
	buf_printf(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",", name);
	json_quote(out, s, n);
}

static int put_line(const char *line, size_t len, struct buf *out, struct err *err)
{
	const char *first = memchr(line, ';', len);
	const char *second =
		first ? memchr(first + 1, ';', len - (size_t)(first + 1 - line)) : NULL;

	if (!second)
		return err_set(err, -EINVAL, ERR_DATA, "lines", "not id;name;cents: %.*s", (int)len,
			       line);
	buf_puts(out, out->data[out->len - 1] == '[' ? "{" : ",{");
	put_field(out, "id", line, (size_t)(first - line));
	put_field(out, "name", first + 1, (size_t)(second - first - 1));
	put_field(out, "price", second + 1, len - (size_t)(second + 1 - line));
	buf_putc(out, '}');
	return 0;
}

/* What begins with a brace is JSON already: sessions and actions speak that. */
static int decode_body(const char *body, size_t len, struct buf *out, struct err *err)
{
	int rc = 0;

	if (len && body[0] == '{') {
		buf_append(out, body, len);
		return 0;
	}
	buf_puts(out, "{\"lines\":[");
	for (size_t at = 0; at < len && rc == 0;) {
		const char *end = memchr(body + at, '\n', len - at);
		size_t n = end ? (size_t)(end - body) - at : len - at;

		rc = n ? put_line(body + at, n, out, err) : 0;
		at += n + 1;
	}
	buf_puts(out, "]}");
	return rc;
}

/* ---- calls ---- */

static int sign_request(const struct hook_signing *in, struct arena *a, struct hook_signed *out,
			struct err *err)
{
	const char *key = hook_value(&in->credential, "key");
	char *text = arena_printf(a, "%s %s %s %.*s", in->method, in->url, in->nonce,
				  (int)in->body_len, in->body);

	if (hook_add(&out->headers, "X-Nonce", in->nonce) < 0 ||
	    hook_add(&out->headers, "X-Signature", proof(a, key, text, strlen(text))) < 0)
		return -E2BIG;
	return hook_add(&out->query, "at", arena_printf(a, "%lld", (long long)in->now_ms / 1000));
}

/* A challenge, then the proof that we have the key, then a session. */
static int login(const struct hook_login *in, struct arena *a, struct hook_request *ask,
		 struct hook_token *out, struct err *err)
{
	const struct hook_answer *answer = in->talk.answer;
	const char *user = hook_value(&in->credential, "user_id");

	if (in->talk.step == 0) {
		*ask = (struct hook_request){ .method = "GET", .path = "/challenge" };
		return hook_add(&ask->query, "user", user) < 0 ? -E2BIG : HOOK_ASKS;
	}
	if (answer->http->status == 401)
		return err_set(err, -EACCES, ERR_AUTH, "login", "the proof was refused");
	if (in->talk.step == 1) {
		const char *salt = answer->json ? json_str(answer->json, "salt") : NULL;

		if (!salt)
			return err_set(err, -EINVAL, ERR_DATA, "login", "no salt");
		*ask = (struct hook_request){
			.method = "POST",
			.path = "/session",
			.content_type = "application/json",
			.body = arena_printf(a, "{\"user\":\"%s\",\"proof\":\"%s\"}", user,
					     proof(a, hook_value(&in->credential, "key"), salt,
						   strlen(salt))),
		};
		ask->body_len = strlen(ask->body);
		return HOOK_ASKS;
	}
	out->token = arena_strdup(a, json_str(answer->json, "session"));
	out->life_ms = 60000;
	return HOOK_DONE;
}

/* The header says "next=42". */
static int next_page(const struct hook_page *in, struct arena *a, const char **cursor,
		     struct err *err)
{
	if (in->found && strncmp(in->found, "next=", 5) != 0)
		return err_set(err, -EINVAL, ERR_DATA, "next_page", "x-next is \"%s\"", in->found);
	*cursor = in->found ? in->found + 5 : NULL;
	return 0;
}

static int adapt_item(const struct manifest_collection *c, const cJSON *item, struct arena *a,
		      const cJSON **out, struct err *err)
{
	cJSON *adapted = hook_copy(a, item), *raw = hook_object(a);
	const char *name = json_str(item, "name"), *price = json_str(item, "price");

	if (price && strcmp(price, "secret") == 0) {
		err_set(err, -EINVAL, ERR_DATA, "adapt_item", "its price is not told");
		snprintf(err->where, sizeof(err->where), "price_minor");
		return -EINVAL;
	}
	hook_set(a, adapted, "name", hook_text(a, arena_printf(a, "The %s", name ? name : "?")));
	hook_set(a, adapted, "cents", hook_number(a, price ? strtod(price, NULL) : 0));
	hook_set(a, raw, "name", hook_text(a, name));
	hook_set(a, adapted, "raw", raw);
	*out = adapted;
	return 0;
}

/* ---- webhooks and actions ---- */

static int verify_webhook(const struct hook_webhook *in, struct arena *a, struct hook_event *out,
			  struct err *err)
{
	const char *said = hook_value(&in->headers, "x-proof");
	const char *own = proof(a, hook_value(&in->credential, "key"), in->body, in->body_len);
	double at = 0;

	if (!said || strcmp(said, own) != 0)
		return err_set(err, -EACCES, ERR_AUTH, "webhook", "the proof is not ours");
	if (!in->json)
		return err_set(err, -EINVAL, ERR_DATA, "webhook", "not JSON");
	out->type = json_str(in->json, "event");
	if (!out->type)
		return err_set(err, -EINVAL, ERR_DATA, "webhook", "it names no event");
	out->external_id = json_str(in->json, "thing.id");
	if (cJSON_IsNumber(json_path(in->json, "at")))
		at = json_path(in->json, "at")->valuedouble;
	out->happened_ms = (int64_t)at * 1000;
	return 0;
}

/* Looks for what an earlier attempt made, makes it if there is none, then says how it is. */
static int plan_action(const struct hook_action *in, struct arena *a, struct hook_request *ask,
		       const cJSON **result, struct err *err)
{
	const struct hook_answer *answer = in->talk.answer;
	const char *id = answer && answer->json ? json_str(answer->json, "id") : NULL;
	cJSON *made;

	if (strcmp(in->name, "push_status") != 0)
		return err_set(err, -EINVAL, ERR_BAD_JOB, "plan_action", "no action %s", in->name);
	if (in->talk.step == 0) {
		*ask = (struct hook_request){ .method = "GET", .path = "/tasks" };
		return hook_add(&ask->query, "key", in->key) < 0 ? -E2BIG : HOOK_ASKS;
	}
	if (in->talk.step == 1 && answer->http->status == 404) {
		*ask = (struct hook_request){ .method = "POST",
					      .path = "/tasks",
					      .content_type = "application/json",
					      .body = arena_printf(a, "{\"status\":\"%s\"}",
								   json_str(in->in, "status")) };
		ask->body_len = strlen(ask->body);
		*in->talk.kept = hook_text(a, "made");
		return hook_add(&ask->headers, "Idempotency-Key", in->key) < 0 ? -E2BIG : HOOK_ASKS;
	}
	made = hook_object(a);
	hook_set(a, made, "task_id", hook_text(a, id));
	hook_set(a, made, "how",
		 *in->talk.kept ? hook_copy(a, *in->talk.kept) : hook_text(a, "found"));
	*result = made;
	return HOOK_DONE;
}

extern const struct driver_hooks driver_hooked;
const struct driver_hooks driver_hooked = { .partner = "hooked",
					    .decode_body = decode_body,
					    .sign_request = sign_request,
					    .login = login,
					    .next_page = next_page,
					    .adapt_item = adapt_item,
					    .verify_webhook = verify_webhook,
					    .plan_action = plan_action };
