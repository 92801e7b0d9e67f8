/* Partners that people are told things by, as their documentation has them: SendGrid (mails), Twilio (texts: twilio.c), Slack's incoming webhooks
 * (posts), FCM v1 (pushes).  None has a key that keeps a message from being sent twice: the books say how often it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "tests/sandbox/books.h"
#include "tests/sandbox/form.h"
#include "tests/sandbox/twilio.h"

#define SENDGRID "/sendgrid/v3"
#define SLACK "/slack/services/"
#define FCM "/fcm"
#define BODY_MAX (1024 * 1024)
#define VALUE_MAX 4096

static void answer(struct exchange *x, int status, const char *type, const char *text)
{
	struct buf body = BUF_INIT;

	buf_puts(&body, text);
	exchange_reply_as(x, status, type, &body);
	buf_clear(&body);
}

static void answer_json(struct exchange *x, int status, const char *text)
{
	answer(x, status, "application/json", text);
}

static void copy(cJSON *row, const char *name, const char *text)
{
	if (text)
		cJSON_AddStringToObject(row, name, text);
}

static cJSON *body_of(const struct exchange *x)
{
	size_t len;
	const char *text = httpd_body(x->q, &len);
	cJSON *v = NULL;

	return len && json_parse(text, len, BODY_MAX, &v, NULL) == 0 ? v : NULL;
}

/* ---- SendGrid ---- */

static const char *content(const cJSON *body, const char *type)
{
	const cJSON *c;

	cJSON_ArrayForEach (c, cJSON_GetObjectItemCaseSensitive(body, "content")) {
		const char *its = json_str(c, "type");

		if (its && strcmp(its, type) == 0)
			return json_str(c, "value");
	}
	return NULL;
}

static void take_mail(struct exchange *x, int account, const cJSON *body)
{
	const char *to = json_str(body, "personalizations[0].to[0].email");
	const char *subject = json_str(body, "subject"), *from = json_str(body, "from.email");
	char id[64];
	cJSON *row;

	if (!to || !subject || !from || !content(body, "text/plain") ||
	    strncmp(to, "refused", 7) == 0) {
		answer_json(
			x, 400,
			"{\"errors\":[{\"message\":\"Does not contain a valid address.\",\"field\":"
			"\"personalizations.0.to.0.email\",\"help\":null}]}");
		return;
	}
	row = books_add("mails", "mail-", account);
	copy(row, "to", to);
	copy(row, "from", from);
	copy(row, "subject", subject);
	copy(row, "text", content(body, "text/plain"));
	copy(row, "html", content(body, "text/html"));
	copy(row, "reference", json_str(body, "personalizations[0].custom_args.longshore"));
	snprintf(id, sizeof(id), "%s.sandbox", json_str(row, "id"));
	httpd_add_header(x->q, "X-Message-Id", id);
	answer_json(x, 202, "");
}

static void sendgrid(struct exchange *x)
{
	const char *key = exchange_token(x);
	int account = key && strncmp(key, "SG.", 3) == 0 ? (int)strtol(key + 3, NULL, 10) : 0;
	cJSON *body = body_of(x);

	if (!account)
		answer_json(
			x, 401,
			"{\"errors\":[{\"message\":\"The provided authorization grant is invalid\","
			"\"field\":null,\"help\":null}]}");
	else if (strcmp(httpd_path(x->q), SENDGRID "/scopes") == 0)
		answer_json(x, 200, "{\"scopes\":[\"mail.send\"]}");
	else if (strcmp(httpd_path(x->q), SENDGRID "/mail/send") == 0)
		take_mail(x, account, body);
	else
		answer_json(x, 404, "{\"errors\":[{\"message\":\"not found\"}]}");
	cJSON_Delete(body);
}

/* ---- Slack ---- */

static void slack(struct exchange *x)
{
	int team = 0, bot = 0, key = 0;
	cJSON *body = body_of(x), *row;
	const char *text = body ? json_str(body, "text") : NULL;

	if (sscanf(httpd_path(x->q), SLACK "T%d/B%d/X%d", &team, &bot, &key) != 3 || team != key) {
		answer(x, 404, "text/html", "no_service");
	} else if (!text || !*text) {
		answer(x, 400, "text/html", "no_text");
	} else {
		row = books_add("posts", "post-", team);
		copy(row, "text", text);
		answer(x, 200, "text/html", "ok");
	}
	cJSON_Delete(body);
}

/* ---- FCM ---- */

/* The claims of a JWT whose form is right; its signature is tests/unit/test_jwt.c's. */
static cJSON *claims_of(const char *jwt)
{
	const char *dot = strchr(jwt, '.'), *end = dot ? strchr(dot + 1, '.') : NULL;
	struct buf text = BUF_INIT, padded = BUF_INIT;
	cJSON *v = NULL;

	if (!end || !end[1])
		return NULL;
	for (const char *p = dot + 1; p < end; p++)
		buf_putc(&padded, *p == '-' ? '+' : *p == '_' ? '/' : *p);
	while (padded.len % 4)
		buf_putc(&padded, '=');
	if (base64_decode(buf_str(&padded), padded.len, &text) == 0)
		(void)!json_parse(buf_str(&text), text.len, BODY_MAX, &v, NULL);
	buf_clear(&text);
	buf_clear(&padded);
	return v;
}

static void fcm_token(struct exchange *x)
{
	static char jwt[VALUE_MAX];
	char grant[128] = "", body[128];
	size_t len;
	const char *form = httpd_body(x->q, &len), *who, *scope;
	cJSON *claims;
	int n = 0;

	*jwt = '\0';
	form_value(form, len, "grant_type", grant, sizeof(grant));
	form_value(form, len, "assertion", jwt, sizeof(jwt));
	claims = claims_of(jwt);
	who = claims ? json_str(claims, "iss") : NULL;
	scope = claims ? json_str(claims, "scope") : NULL;
	if (strcmp(grant, "urn:ietf:params:oauth:grant-type:jwt-bearer") != 0 || !who || !scope ||
	    sscanf(who, "svc-%d@", &n) != 1) {
		answer_json(x, 400,
			    "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT\"}");
	} else {
		snprintf(
			body, sizeof(body),
			"{\"access_token\":\"ya29.%d\",\"expires_in\":3599,\"token_type\":\"Bearer\"}",
			n);
		answer_json(x, 200, body);
	}
	cJSON_Delete(claims);
}

static void fcm_send(struct exchange *x)
{
	const char *token = exchange_token(x), *to, *title;
	int account =
		token && strncmp(token, "ya29.", 5) == 0 ? (int)strtol(token + 5, NULL, 10) : 0;
	cJSON *body = body_of(x), *row;
	char name[96];

	to = body ? json_str(body, "message.token") : NULL;
	title = body ? json_str(body, "message.notification.title") : NULL;
	if (!account) {
		answer_json(x, 401, "{\"error\":{\"code\":401,\"status\":\"UNAUTHENTICATED\"}}");
	} else if (!to || !title) {
		answer_json(x, 400, "{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\"}}");
	} else if (strncmp(to, "gone", 4) == 0) {
		answer_json(
			x, 404,
			"{\"error\":{\"code\":404,\"message\":\"Requested entity was not found.\",\"status\":"
			"\"NOT_FOUND\",\"details\":[{\"@type\":\"type.googleapis.com/google.firebase.fcm.v1.FcmError\","
			"\"errorCode\":\"UNREGISTERED\"}]}}");
	} else {
		row = books_add("pushes", "push-", account);
		copy(row, "token", to);
		copy(row, "title", title);
		copy(row, "body", json_str(body, "message.notification.body"));
		snprintf(name, sizeof(name), "{\"name\":\"projects/p/messages/%s\"}",
			 json_str(row, "id"));
		answer_json(x, 200, name);
	}
	cJSON_Delete(body);
}

static void serve(struct exchange *x)
{
	const char *path = httpd_path(x->q);

	if (!exchange_latency(x))
		return;
	if (strncmp(path, SENDGRID, strlen(SENDGRID)) == 0)
		sendgrid(x);
	else if (strncmp(path, TWILIO, strlen(TWILIO)) == 0)
		twilio_serve(x);
	else if (strncmp(path, SLACK, strlen(SLACK)) == 0)
		slack(x);
	else if (strcmp(path, FCM "/token") == 0)
		fcm_token(x);
	else
		fcm_send(x);
}

static void handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q))
		serve(&x);
	exchange_end(&x);
}

void messengers_routes(struct httpd *h, struct sandbox *s)
{
	static const char *const roots[] = { SENDGRID "/", TWILIO "/", SLACK, FCM "/" };

	for (size_t i = 0; i < ARRAY_LEN(roots); i++)
		httpd_route(h, "*", roots[i], handler, s);
}
