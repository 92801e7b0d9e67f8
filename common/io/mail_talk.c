/* What is said to a server of mail once the connection is there: the login by a token, the envelope, the message.  Over a wire, which is a
 * connection or a dialogue that was written down: both are judged by this. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/secret.h"
#include "common/io/http_pool.h"
#include "common/io/mail_login.h"

#define LINE_BYTES 512
#define LAST_WORDS_MAX 64 /* pieces that are read of a server that has closed the connection */

/* ---- the wire ---- */

int mail_talk_lost(struct transfer *t, CURLcode why, const char *text)
{
	t->result = why;
	snprintf(t->error, sizeof(t->error), "%s", text);
	return MAIL_ENDED;
}

static int no_word(struct transfer *t, CURLcode why, const char *text)
{
	t->reply.code = 0;
	return mail_talk_lost(t, why, text);
}

/* Behind the message's end the first reply is its answer: that the server then goes, and says so at once, does not undo what it took.
 * Before that the last word holds. */
static int feed(struct transfer *t, const char *s, size_t n)
{
	int rc = 0;

	if (t->dialogue)
		mail_dialogue_heard(t->dialogue, s, n);
	if (!t->ended)
		return mail_reply_feed(&t->reply, s, n);
	for (size_t i = 0; i < n && rc == 0 && !t->reply.ended; i++)
		rc = mail_reply_feed(&t->reply, s + i, 1);
	return rc;
}

int mail_talk_heard(struct transfer *t, const char *s, size_t n)
{
	int rc = feed(t, s, n);

	if (rc < 0 || !t->reply.ended)
		return rc;
	t->logged_in |= t->reply.code == 235;
	if (t->reply.code == 250) {
		buf_reset(&t->ehlo);
		buf_append(&t->ehlo, buf_str(&t->reply.text), t->reply.text.len);
	}
	return 0;
}

/* Once, without waiting.  0: some of a reply came; -EAGAIN: nothing yet. */
static int listen_now(struct transfer *t)
{
	char some[1024];
	size_t n = 0;
	CURLcode c = t->wire->recv(t, some, sizeof(some), &n);

	if (c == CURLE_AGAIN)
		return -EAGAIN;
	if (c != CURLE_OK || n == 0)
		return no_word(t, CURLE_RECV_ERROR, "the server has closed the connection");
	t->last_ms = loop_now_ms();
	if (feed(t, some, n) < 0)
		return no_word(t, CURLE_WEIRD_SERVER_REPLY, "no reply that a server of mail gives");
	return 0;
}

/* Before it closed the connection it may have said why. */
static int closed(struct transfer *t)
{
	int rc = 0;

	for (int i = 0; i < LAST_WORDS_MAX && rc == 0; i++) {
		rc = listen_now(t);
		if (rc == 0 && t->reply.ended && t->reply.code >= 400)
			return MAIL_ENDED;
	}
	return no_word(t, CURLE_SEND_ERROR, "the server has closed the connection");
}

/* Once some of it has gone. */
static void note_said(struct transfer *t)
{
	if (t->saying && t->dialogue)
		mail_dialogue_said(t->dialogue, t->saying, t->saying_len);
	t->saying = NULL;
}

static void begin_saying(struct transfer *t, const char *as, size_t n)
{
	t->saying = as;
	t->saying_len = n;
}

static int say_on(struct transfer *t, const char *s, size_t n, int64_t end_ms)
{
	int rc = 0;

	while (n > 0 && rc == 0) {
		size_t took = 0;
		CURLcode c = t->wire->send(t, s, n, &took);

		if (c == CURLE_AGAIN) {
			rc = t->wire->wait(t, EV_WRITE, end_ms);
			continue;
		}
		if (c != CURLE_OK)
			return closed(t);
		note_said(t);
		s += took;
		n -= took;
		t->last_ms = loop_now_ms();
	}
	return rc;
}

static int say(struct transfer *t, const char *line, size_t n, int64_t end_ms)
{
	begin_saying(t, line, n);
	return say_on(t, line, n, end_ms);
}

static int hear(struct transfer *t, int64_t end_ms)
{
	int rc = 0;

	while (!t->reply.ended && rc == 0) {
		rc = listen_now(t);
		if (rc == -EAGAIN)
			rc = t->wire->wait(t, EV_READ, end_ms);
	}
	return rc;
}

/* ---- what is said ---- */

/* Waits.  MAIL_ENDED also where the reply is another than what is hoped for. */
static int heed(struct transfer *t, int hoped, int64_t end_ms)
{
	int rc = hear(t, end_ms);

	if (rc != 0 || t->reply.code / 100 == hoped)
		return rc;
	if (t->reply.code < 400)
		return no_word(t, CURLE_WEIRD_SERVER_REPLY,
			       "a reply that does not fit what was asked");
	return MAIL_ENDED;
}

static int ask_as(struct transfer *t, const char *step, const char *line, int hoped, int64_t end_ms)
{
	int rc;

	failpoint_before(t, failpoint_smtp(step));
	mail_reply_clear(&t->reply);
	rc = say(t, line, strlen(line), end_ms);
	if (rc == 0)
		rc = heed(t, hoped, end_ms);
	if (t->reply.ended)
		failpoint_after(t);
	return rc;
}

static int ask(struct transfer *t, const char *line, int hoped, int64_t end_ms)
{
	return ask_as(t, line, line, hoped, end_ms);
}

/* ---- who sends it ---- */

/* The token; a server that refuses it says why first, and ends the dialogue once that is answered. */
static int say_token(struct transfer *t, const struct mail_login *l, const struct buf *line,
		     int64_t end_ms)
{
	struct buf reason = BUF_INIT;
	int rc;

	failpoint_before(t, failpoint_smtp("AUTH"));
	mail_reply_clear(&t->reply);
	rc = say(t, line->data, line->len, end_ms);
	if (rc == 0)
		rc = hear(t, end_ms);
	if (t->reply.ended)
		failpoint_after(t);
	if (rc == 0 && t->reply.code == 334) {
		mail_login_reason(buf_str(&t->reply.text), &reason);
		rc = ask_as(t, "AUTH", l->give_up, 4, end_ms);
		if (rc == 0)
			rc = MAIL_ENDED; /* 4yz is an answer as 5yz is */
	} else if (rc == 0) {
		rc = heed(t, 2, end_ms);
	}
	if (reason.len && t->reply.code >= 400)
		buf_printf(&t->reply.text, " %s", buf_str(&reason));
	buf_clear(&reason);
	return rc;
}

/* By a token. */
static int log_in(struct transfer *t, const struct http_request *q, int64_t end_ms)
{
	const struct mail_login *l = mail_login_offered(buf_str(&t->ehlo));
	struct buf line = BUF_INIT;
	char begin[40];
	struct http_url u;
	int rc;

	if (!l)
		return no_word(t, CURLE_LOGIN_DENIED,
			       "the server offers no login by a token (XOAUTH2, OAUTHBEARER)");
	if (http_url_parse(q->url, &u) < 0 ||
	    mail_login_line(l, q->mail->user, q->mail->token, u.host, u.port, &line) < 0)
		return no_word(t, CURLE_LOGIN_DENIED,
			       "the user's name or the token holds what none may");
	snprintf(begin, sizeof(begin), "AUTH %s\r\n", l->mechanism);
	rc = ask(t, begin, 3, end_ms);
	if (rc == 0)
		rc = say_token(t, l, &line, end_ms);
	secret_free_buf(&line);
	return rc;
}

/* ---- the message ---- */

/* All but its end, which is a dot alone: one at the begin of a line is doubled. */
static int write_message(struct transfer *t, const struct http_request *q, int64_t end_ms)
{
	struct buf text = BUF_INIT;
	bool begins = true;
	int rc;

	buf_reserve(&text, q->body_len + 8);
	for (size_t i = 0; i < q->body_len; i++) {
		if (begins && q->body[i] == '.')
			buf_putc(&text, '.');
		buf_putc(&text, q->body[i]);
		begins = q->body[i] == '\n';
	}
	if (!begins)
		buf_puts(&text, "\r\n");
	failpoint_before(t, failpoint_smtp("message"));
	begin_saying(t, MAIL_SAID_MESSAGE, strlen(MAIL_SAID_MESSAGE));
	rc = say_on(t, text.data, text.len, end_ms);
	if (rc == 0) /* so that the end goes at once, once it may */
		rc = t->wire->wait(t, EV_WRITE, end_ms);
	if (rc == 0)
		failpoint_after(t);
	buf_clear(&text);
	return rc;
}

/* Whoever asks whether it may end waits meanwhile; a server that has gone, or says that it goes, before it ended has not taken it. */
static int may_end(struct transfer *t, const struct http_request *q, int64_t end_ms)
{
	int rc = q->ending ? q->ending(q->sending_arg) : 0;

	if (rc < 0 || !t->in_multi)
		return rc < 0 ? rc : MAIL_ENDED;
	t->last_ms = loop_now_ms();
	mail_reply_clear(&t->reply);
	rc = listen_now(t);
	if (rc == -EAGAIN)
		return 0;
	return rc == 0 ? heed(t, 0, end_ms) : rc;
}

/* From its first byte on nobody knows but by the server's word.  What could not be handed over did not go. */
static int end_message(struct transfer *t, int64_t end_ms)
{
	static const char end[] = ".\r\n";
	size_t took = 0;
	CURLcode c;
	int rc;

	failpoint_before(t, failpoint_smtp("end"));
	begin_saying(t, end, sizeof(end) - 1);
	c = t->wire->send(t, end, sizeof(end) - 1, &took);
	if (c != CURLE_OK && c != CURLE_AGAIN)
		return closed(t);
	t->ended = true;
	note_said(t);
	t->last_ms = loop_now_ms();
	rc = say_on(t, end + took, sizeof(end) - 1 - took, end_ms);
	if (rc == 0)
		rc = heed(t, 2, end_ms);
	if (t->reply.ended)
		failpoint_after(t);
	return rc;
}

/* Nobody waits for the answer: until the outcome is written down it is in doubt. */
static void say_good_bye(struct transfer *t)
{
	size_t took;

	failpoint_before(t, failpoint_smtp("QUIT"));
	begin_saying(t, "QUIT", 4);
	if (t->wire->send(t, "QUIT\r\n", 6, &took) == CURLE_OK)
		note_said(t);
	failpoint_after(t);
}

/* RFC 1870: who is told how long it is refuses at once what is too long, and not in the middle. */
static bool takes_size(const char *ehlo)
{
	for (const char *line = ehlo; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *word = line + (strcspn(line, "\n") < 4 ? strcspn(line, "\n") : 4);

		if (strncasecmp(word, "SIZE", 4) == 0 && strcspn(word, " \n") == 4)
			return true;
	}
	return false;
}

static int say_envelope(struct transfer *t, const struct http_request *q, int64_t end_ms)
{
	char line[LINE_BYTES], size[32] = "";
	int rc;

	if (takes_size(buf_str(&t->ehlo)))
		snprintf(size, sizeof(size), " SIZE=%zu", q->body_len);
	snprintf(line, sizeof(line), "MAIL FROM:<%s>%s\r\n", q->mail->from, size);
	rc = ask(t, line, 2, end_ms);
	snprintf(line, sizeof(line), "RCPT TO:<%s>\r\n", q->mail->to);
	return rc == 0 ? ask(t, line, 2, end_ms) : rc;
}

int mail_talk(struct transfer *t, const struct http_request *q, int64_t end_ms)
{
	int rc = 0;

	t->phase = PHASE_SENT;
	t->last_ms = loop_now_ms();
	if (q->mail->token)
		rc = log_in(t, q, end_ms);
	else if (t->login && !t->logged_in) /* libcurl goes on where none is offered */
		rc = no_word(t, CURLE_LOGIN_DENIED,
			     "the server offers no login by a user's name and a password");
	if (rc == 0)
		t->unwanted = t->sending && !t->sending(t->sending_arg);
	if (t->unwanted)
		return 0;
	if (rc == 0)
		rc = say_envelope(t, q, end_ms);
	if (rc == 0)
		rc = ask(t, "DATA\r\n", 3, end_ms);
	if (rc == 0)
		rc = write_message(t, q, end_ms);
	if (rc == 0)
		rc = may_end(t, q, end_ms);
	if (rc == 0)
		rc = end_message(t, end_ms);
	if (rc >= 0 && t->in_multi && t->reply.code)
		say_good_bye(t);
	return rc < 0 ? rc : 0;
}

bool mail_talk_answer(const struct transfer *t, struct http_response *out)
{
	if (!t->reply.ended || (t->reply.code < 400 && !(t->ended && t->result == CURLE_OK)))
		return false;
	out->status = t->reply.code;
	out->mail = true;
	mail_reply_tell(&t->reply, &out->body);
	return true;
}
