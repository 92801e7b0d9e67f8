/* A mail: libcurl connects (names, TCP, greeting, STARTTLS or TLS, login), and what follows is said here.  libcurl could say it too, but
 * it waits for the server's word on a message, and for its good-bye, without returning to the loop: all other jobs would wait along. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "common/io/http_pool.h"
#include "common/io/http_socket.h"

#define ADDRESS_MAX 320

enum { ENDED = 1 }; /* t->stop or t->result says why */

static bool is_address(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] <= ' ' || (unsigned char)s[i] >= 0x7f ||
		    strchr("<>\"\\", s[i]))
			return false;
	return n > 0 && n <= ADDRESS_MAX;
}

bool http_mail_is_sendable(const struct http_request *q)
{
	return is_address(q->mail->from) && is_address(q->mail->to) && q->body && q->body_len;
}

static size_t on_reply(char *line, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	t->last_ms = loop_now_ms();
	if (mail_reply_feed(&t->reply, line, n) < 0)
		return 0;
	if (t->reply.ended) {
		failpoint_after(t);
		failpoint_before(t, failpoint_smtp_next(t->failpoint, t->starttls, t->login,
							t->reply.code));
	}
	return n;
}

void http_mail_prepare(struct transfer *t, const struct http_request *q)
{
	const struct http_mail *m = q->mail;

	t->is_mail = true;
	t->starttls = !m->plain && strncmp(q->url, "smtp:", 5) == 0;
	t->login = m->user != NULL;
	t->to_send = 0;
	t->fd = -1;
	mail_reply_clear(&t->reply);
	curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(t->easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(t->easy, CURLOPT_PREREQFUNCTION, NULL);
	curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_reply);
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(t->easy, CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, NULL);
	curl_easy_setopt(t->easy, CURLOPT_USE_SSL,
			 (long)(m->plain ? CURLUSESSL_NONE : CURLUSESSL_ALL));
	if (m->user) {
		curl_easy_setopt(t->easy, CURLOPT_USERNAME, m->user);
		curl_easy_setopt(t->easy, CURLOPT_PASSWORD, m->password ? m->password : "");
	}
}

/* ---- the connection ---- */

static void on_ready(int fd, short what, void *arg)
{
	struct transfer *t = arg;

	completion_done(&t->done);
}

/* Waits. */
static int wait_for(struct transfer *t, short what, int64_t end_ms)
{
	int rc;

	t->done = (struct completion){ 0 };
	http_socket_watch(t->fd, what, on_ready, t);
	rc = completion_wait(&t->done, "mail", end_ms);
	if (!t->in_multi) /* silent for too long, or the pool is gone */
		return rc < 0 ? rc : ENDED;
	http_socket_watch(t->fd, 0, NULL, NULL);
	return rc;
}

static int lost(struct transfer *t, CURLcode why, const char *text)
{
	t->result = why;
	snprintf(t->error, sizeof(t->error), "%s", text);
	return ENDED;
}

static int say(struct transfer *t, const char *s, size_t n, int64_t end_ms)
{
	int rc = 0;

	while (n > 0 && rc == 0) {
		size_t took = 0;
		CURLcode c = curl_easy_send(t->easy, s, n, &took);

		if (c == CURLE_AGAIN) {
			rc = wait_for(t, EV_WRITE, end_ms);
			continue;
		}
		if (c != CURLE_OK)
			return lost(t, CURLE_SEND_ERROR, "the server has closed the connection");
		s += took;
		n -= took;
		t->last_ms = loop_now_ms();
	}
	return rc;
}

/* Once, without waiting.  0: some of a reply came; -EAGAIN: nothing yet. */
static int listen_now(struct transfer *t)
{
	char some[1024];
	size_t n = 0;
	CURLcode c = curl_easy_recv(t->easy, some, sizeof(some), &n);

	if (c == CURLE_AGAIN)
		return -EAGAIN;
	if (c != CURLE_OK || n == 0) {
		t->reply.code = 0;
		return lost(t, CURLE_RECV_ERROR, "the server has closed the connection");
	}
	t->last_ms = loop_now_ms();
	if (mail_reply_feed(&t->reply, some, n) < 0) {
		t->reply.code = 0;
		return lost(t, CURLE_WEIRD_SERVER_REPLY, "no reply that a server of mail gives");
	}
	return 0;
}

static int hear(struct transfer *t, int64_t end_ms)
{
	int rc = 0;

	while (!t->reply.ended && rc == 0) {
		rc = listen_now(t);
		if (rc == -EAGAIN)
			rc = wait_for(t, EV_READ, end_ms);
	}
	return rc;
}

/* ---- what is said ---- */

/* Waits.  ENDED also where the reply is another than what is hoped for. */
static int heed(struct transfer *t, int hoped, int64_t end_ms)
{
	int rc = hear(t, end_ms);

	if (rc != 0 || t->reply.code / 100 == hoped)
		return rc;
	if (t->reply.code < 400) {
		t->reply.code = 0;
		return lost(t, CURLE_WEIRD_SERVER_REPLY,
			    "a reply that does not fit what was asked");
	}
	return ENDED;
}

static int ask(struct transfer *t, const char *line, int hoped, int64_t end_ms)
{
	int rc;

	failpoint_before(t, failpoint_smtp(line));
	mail_reply_clear(&t->reply);
	rc = say(t, line, strlen(line), end_ms);
	if (rc == 0)
		rc = heed(t, hoped, end_ms);
	if (t->reply.ended)
		failpoint_after(t);
	return rc;
}

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
	rc = say(t, text.data, text.len, end_ms);
	if (rc == 0) /* so that the end goes at once, once it may */
		rc = wait_for(t, EV_WRITE, end_ms);
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
		return rc < 0 ? rc : ENDED;
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
	c = curl_easy_send(t->easy, end, sizeof(end) - 1, &took);
	if (c != CURLE_OK && c != CURLE_AGAIN)
		return lost(t, CURLE_SEND_ERROR, "the server has closed the connection");
	t->ended = true;
	t->last_ms = loop_now_ms();
	rc = say(t, end + took, sizeof(end) - 1 - took, end_ms);
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
	(void)curl_easy_send(t->easy, "QUIT\r\n", 6, &took);
	failpoint_after(t);
}

int http_mail_talk(struct transfer *t, const struct http_request *q, int64_t end_ms)
{
	char line[ADDRESS_MAX + 32];
	curl_socket_t fd = CURL_SOCKET_BAD;
	int rc;

	t->phase = PHASE_SENT;
	t->last_ms = loop_now_ms();
	if (curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
	    fd == CURL_SOCKET_BAD) {
		lost(t, CURLE_RECV_ERROR, "the server has closed the connection");
		t->reply.code = 0;
		return 0;
	}
	t->fd = fd;
	t->unwanted = t->sending && !t->sending(t->sending_arg);
	if (t->unwanted)
		return 0;
	snprintf(line, sizeof(line), "MAIL FROM:<%s>\r\n", q->mail->from);
	rc = ask(t, line, 2, end_ms);
	snprintf(line, sizeof(line), "RCPT TO:<%s>\r\n", q->mail->to);
	if (rc == 0)
		rc = ask(t, line, 2, end_ms);
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

bool http_mail_answer(const struct transfer *t, struct http_response *out)
{
	if (!t->reply.ended || (t->reply.code < 400 && !(t->ended && t->result == CURLE_OK)))
		return false;
	out->status = t->reply.code;
	out->mail = true;
	mail_reply_tell(&t->reply, &out->body);
	return true;
}
