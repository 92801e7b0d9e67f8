/* Text messages as Twilio's documentation has them, and what it tells since: a form to the StatusCallback that came with the message, whose
 * query is the caller's own, signed by the account's token over the whole address and the sorted fields. */
#include "tests/sandbox/twilio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/hmac.h"
#include "common/base/mem.h"
#include "tests/sandbox/books.h"
#include "tests/sandbox/form.h"
#include "tests/sandbox/news.h"
#include "tests/sandbox/tell.h"

#define VALUE_MAX 4096

static void answer_json(struct exchange *x, int status, const char *text)
{
	struct buf body = BUF_INIT;

	buf_puts(&body, text);
	exchange_reply(x, status, &body);
	buf_clear(&body);
}

static void copy(cJSON *row, const char *name, const char *text)
{
	if (text)
		cJSON_AddStringToObject(row, name, text);
}

/* ---- what is told ---- */

/* The signature stands where others have a secret: it is the same in each attempt. */
static int send(const struct telling *t, struct buf *answer)
{
	const struct http_header headers[] = {
		{ "Content-Type", "application/x-www-form-urlencoded; charset=UTF-8" },
		{ "X-Twilio-Signature", t->secret }
	};

	return tell_send(t->url, headers, (int)ARRAY_LEN(headers), t->body, answer);
}

/* Once more where no connection came about; whatever is answered ends it. */
static bool gives_up(int status, int tries)
{
	return status || tries > 1;
}

static void add_field(const char *name, const char *value, struct buf *body, struct buf *text)
{
	buf_printf(body, "%s%s=", body->len ? "&" : "", name);
	http_escape(body, value, strlen(value));
	buf_puts(text, name);
	buf_puts(text, value);
}

static void tell(const cJSON *row, int account, const char *url, const char *status,
		 const char *error)
{
	static const struct teller teller = { .send = send, .gives_up = gives_up };
	struct buf body = BUF_INIT, text = BUF_INIT, signature = BUF_INIT;
	char sid[24], token[24];
	uint8_t mac[HMAC_BYTES_MAX];
	size_t n;

	snprintf(sid, sizeof(sid), "AC%d", account);
	snprintf(token, sizeof(token), "token-%d", account);
	buf_puts(&text, url);
	add_field("AccountSid", sid, &body, &text); /* by name, as they are signed */
	add_field("ApiVersion", "2010-04-01", &body, &text);
	if (error)
		add_field("ErrorCode", error, &body, &text);
	add_field("From", json_str(row, "from"), &body, &text);
	add_field("MessageSid", json_str(row, "id"), &body, &text);
	add_field("MessageStatus", status, &body, &text);
	add_field("SmsSid", json_str(row, "id"), &body, &text);
	add_field("SmsStatus", status, &body, &text);
	add_field("To", json_str(row, "to"), &body, &text);
	n = hmac(HMAC_SHA1, token, strlen(token), text.data, text.len, mac);
	base64_encode(&signature, mac, n);
	news_tell(&teller, &(struct telling){ .url = url,
					      .login = "",
					      .secret = buf_str(&signature),
					      .body = buf_str(&body) });
	buf_clear(&body);
	buf_clear(&text);
	buf_clear(&signature);
}

/* In no order that one could rely upon. */
static void tell_all(const cJSON *row, int account, const char *url)
{
	const char *to = json_str(row, "to");

	if (!*url)
		return;
	if (strcmp(to, "+15005550009") == 0) {
		tell(row, account, url, "failed", "30008");
		return;
	}
	tell(row, account, url, "sent", NULL);
	if (strcmp(to, "+15005550008") == 0)
		tell(row, account, url, "undelivered", "30003");
	else
		tell(row, account, url, "delivered", NULL);
}

/* ---- what is asked ---- */

/* The numbers of Twilio's test credentials, as far as they go; …09 is taken and fails at once, …08 is never delivered. */
static void take_text(struct exchange *x, int account)
{
	static char text[VALUE_MAX]; /* nothing waits here */
	char to[64] = "", from[64] = "", back[512] = "";
	size_t len;
	const char *form = httpd_body(x->q, &len);
	struct buf body = BUF_INIT;
	bool fails;
	cJSON *row;

	*text = '\0';
	form_value(form, len, "To", to, sizeof(to));
	form_value(form, len, "From", from, sizeof(from));
	form_value(form, len, "Body", text, sizeof(text));
	if (to[0] != '+' || strcmp(to, "+15005550001") == 0 || !*from || !*text) {
		answer_json(
			x, 400,
			"{\"code\":21211,\"message\":\"Invalid 'To' Phone Number\",\"more_info\":"
			"\"https://www.twilio.com/docs/errors/21211\",\"status\":400}");
		return;
	}
	fails = strcmp(to, "+15005550009") == 0;
	row = books_add(fails ? "failed_texts" : "texts", "SM", account);
	copy(row, "to", to);
	copy(row, "from", from);
	copy(row, "body", text);
	if (form_value(form, len, "StatusCallback", back, sizeof(back)))
		copy(row, "callback", back);
	tell_all(row, account, back);
	buf_printf(&body,
		   "{\"sid\":\"%s\",\"status\":\"%s\",\"error_code\":%s,\"num_segments\":\"1\"}",
		   json_str(row, "id"), fails ? "failed" : "queued", fails ? "30008" : "null");
	exchange_reply_as(x, 201, "application/json", &body);
	buf_clear(&body);
}

/* "Basic " and the base64 of ACn:token-n. */
static int twilio_account(const struct exchange *x)
{
	const char *header = httpd_header(x->q, "Authorization");
	struct buf pair = BUF_INIT;
	char expected[64];
	int n = 0;

	if (header && strncmp(header, "Basic ", 6) == 0 &&
	    base64_decode(header + 6, strlen(header + 6), &pair) == 0 &&
	    sscanf(buf_str(&pair), "AC%d:", &n) == 1) {
		snprintf(expected, sizeof(expected), "AC%d:token-%d", n, n);
		if (strcmp(expected, buf_str(&pair)) != 0)
			n = 0;
	}
	buf_clear(&pair);
	return n;
}

void twilio_serve(struct exchange *x)
{
	int account = twilio_account(x), n = 0;

	if (sscanf(httpd_path(x->q), TWILIO "/Accounts/AC%d/Messages.json", &n) == 1 &&
	    n == account && account)
		take_text(x, account);
	else
		answer_json(x, account ? 404 : 401,
			    "{\"code\":20003,\"message\":\"Authenticate\",\"status\":401}");
}
