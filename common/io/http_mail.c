/* A mail: libcurl connects (names, TCP, greeting, STARTTLS or TLS, login by a password), and what follows is said by mail_talk.c.  libcurl could say it
 * too, but it waits for the server's word on a message, and for its good-bye, without returning to the loop: all other jobs would wait along. */
#include <string.h>

#include "common/io/http_pool.h"
#include "common/io/http_socket.h"

#define ADDRESS_MAX 320

static bool is_address(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] <= ' ' || (unsigned char)s[i] >= 0x7f ||
		    strchr("<>\"\\", s[i]))
			return false;
	return n > 0 && n <= ADDRESS_MAX;
}

/* A line break that is half of one ends a line for some servers and for others not: what stands behind it could be a message's end to the one,
 * and the next command to the other. */
static bool is_message(const struct http_request *q)
{
	const char *s = q->body;

	for (size_t i = 0; s && i < q->body_len; i++)
		if (!s[i] || (s[i] == '\n' && (i == 0 || s[i - 1] != '\r')) ||
		    (s[i] == '\r' && (i + 1 == q->body_len || s[i + 1] != '\n')))
			return false;
	return s && q->body_len;
}

bool http_mail_is_sendable(const struct http_request *q)
{
	return is_address(q->mail->from) && is_address(q->mail->to) && is_message(q);
}

bool http_mail_demands_tls(const struct http_request *q)
{
	return !q->mail->plain && strncmp(q->url, "smtp:", 5) == 0;
}

static size_t on_reply(char *line, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	t->last_ms = loop_now_ms();
	if (mail_talk_heard(t, line, n) < 0)
		return 0;
	if (t->reply.ended) {
		failpoint_after(t);
		failpoint_before(t, failpoint_smtp_next(t->failpoint, t->starttls, t->login,
							t->reply.code));
	}
	return n;
}

/* What libcurl says. */
static int on_debug(CURL *easy, curl_infotype type, char *s, size_t n, void *arg)
{
	struct transfer *t = arg;

	if (type == CURLINFO_HEADER_OUT && t->dialogue)
		mail_dialogue_said(t->dialogue, s, n);
	return 0;
}

void http_mail_prepare(struct transfer *t, const struct http_request *q)
{
	const struct http_mail *m = q->mail;

	t->is_mail = true;
	t->starttls = http_mail_demands_tls(q);
	t->login = m->user && !m->token;
	t->logged_in = false;
	t->dialogue = m->dialogue;
	t->to_send = 0;
	t->fd = -1;
	mail_reply_clear(&t->reply);
	buf_reset(&t->ehlo);
	if (t->dialogue) {
		curl_easy_setopt(t->easy, CURLOPT_VERBOSE, 1L);
		curl_easy_setopt(t->easy, CURLOPT_DEBUGFUNCTION, on_debug);
		curl_easy_setopt(t->easy, CURLOPT_DEBUGDATA, t);
	}
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
	if (t->login) {
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
		return rc < 0 ? rc : MAIL_ENDED;
	http_socket_watch(t->fd, 0, NULL, NULL);
	return rc;
}

static CURLcode wire_send(struct transfer *t, const char *s, size_t n, size_t *took)
{
	return curl_easy_send(t->easy, s, n, took);
}

static CURLcode wire_recv(struct transfer *t, char *s, size_t room, size_t *n)
{
	return curl_easy_recv(t->easy, s, room, n);
}

int http_mail_talk(struct transfer *t, const struct http_request *q, int64_t end_ms)
{
	static const struct mail_wire wire = { wire_send, wire_recv, wait_for };
	curl_socket_t fd = CURL_SOCKET_BAD;
	int rc;

	if (curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
	    fd == CURL_SOCKET_BAD) {
		mail_talk_lost(t, CURLE_RECV_ERROR, "the server has closed the connection");
		t->reply.code = 0;
		return 0;
	}
	t->fd = fd;
	t->wire = &wire;
	rc = mail_talk(t, q, end_ms);
	/* What libcurl says to end it is nobody's, nor what it meets then. */
	t->dialogue = NULL;
	curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, NULL);
	return rc;
}
