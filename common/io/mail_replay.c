#include "common/io/mail_replay.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/http_pool.h"

#define WANTED " is written down, and "

struct replaying {
	struct transfer t;
	struct mail_replay *r;
	const char *at;     /* the next line of the dialogue; its end is a NUL */
	int line;           /* which one that is */
	struct buf heard;   /* of the server, and not read yet … */
	size_t heard_from;  /* … from here on */
	bool secured, over; /* the connection is gone */
};

static struct replaying *of(struct transfer *t)
{
	return (struct replaying *)((char *)t - offsetof(struct replaying, t));
}

static size_t line_len(const struct replaying *p)
{
	return strcspn(p->at, "\n");
}

static void next(struct replaying *p)
{
	p->at += line_len(p);
	p->at += *p->at == '\n';
	p->line++;
}

static bool is_ours(const struct replaying *p)
{
	return *p->at == 'C';
}

static bool is_servers(const struct replaying *p)
{
	return *p->at == 'S';
}

static bool is_line(const struct replaying *p, const char *ours)
{
	size_t n = strlen(ours);

	return is_ours(p) && line_len(p) == n + 3 && memcmp(p->at + 3, ours, n) == 0;
}

static bool begins(const struct replaying *p, const char *ours)
{
	return is_ours(p) && strncmp(p->at + 3, ours, strlen(ours)) == 0;
}

/* Only the first: what follows would follow from it. */
static CURLcode astray(struct replaying *p, const char *what, const char *more)
{
	if (!p->r->problem.len) {
		p->r->line = p->line;
		buf_printf(&p->r->problem, "\"%.*s\"" WANTED "%s%s", (int)line_len(p), p->at, what,
			   more);
	}
	return CURLE_ABORTED_BY_CALLBACK;
}

/* ---- the wire ---- */

static CURLcode wire_send(struct transfer *t, const char *s, size_t n, size_t *took)
{
	struct replaying *p = of(t);
	struct buf line = BUF_INIT;
	CURLcode c = CURLE_OK;

	mail_dialogue_show(t->saying, t->saying_len, &line);
	if (is_line(p, buf_str(&line)))
		next(p);
	else if (p->r->problem.len || strcmp(buf_str(&line), "QUIT") == 0)
		c = CURLE_SEND_ERROR; /* that one said or not changes nothing */
	else if ((p->over = !*p->at))
		c = CURLE_SEND_ERROR;
	else
		c = astray(p, "what would be said is C: ", buf_str(&line));
	buf_clear(&line);
	*took = n;
	return c;
}

/* A server that says why it goes does not wait to be asked: the next line was there with the last.  So was whatever stands behind the
 * answer to the message, for nobody listens on once that is there. */
static void hear_reply(struct replaying *p)
{
	bool more = true;

	for (; is_servers(p) && (more || p->t.ended || strncmp(p->at + 3, "421", 3) == 0);
	     next(p)) {
		size_t n = line_len(p) - 3;

		more = n > 3 && p->at[6] == '-';
		buf_append(&p->heard, p->at + 3, n);
		buf_puts(&p->heard, "\r\n");
	}
}

static CURLcode wire_recv(struct transfer *t, char *s, size_t room, size_t *n)
{
	struct replaying *p = of(t);

	hear_reply(p);
	*n = p->heard.len - p->heard_from;
	*n = *n < room ? *n : room;
	if (*n == 0) {
		p->over = !*p->at || p->r->problem.len;
		return p->over ? CURLE_RECV_ERROR : CURLE_AGAIN;
	}
	memcpy(s, p->heard.data + p->heard_from, *n);
	p->heard_from += *n;
	return CURLE_OK;
}

static int wire_wait(struct transfer *t, short what, int64_t end_ms)
{
	if (what == EV_WRITE)
		return 0;
	return mail_talk_lost(t, astray(of(t), "the server's word would be waited for", ""),
			      "another dialogue");
}

/* ---- until the connection is there ---- */

/* Where libcurl ends, and what follows is said here. */
static bool is_ready(const struct replaying *p, const struct http_request *q)
{
	return begins(p, "MAIL FROM:") || (q->mail->token && begins(p, "AUTH "));
}

static bool libcurl_says(const struct replaying *p)
{
	return begins(p, "EHLO ") || begins(p, "HELO ") || begins(p, "AUTH ") ||
	       is_line(p, "STARTTLS") || is_line(p, "QUIT") || is_line(p, "***");
}

static int connect_lines(struct replaying *p, const struct http_request *q)
{
	for (; *p->at && !is_ready(p, q); next(p)) {
		size_t n = line_len(p) - 3;

		if (is_servers(p)) {
			if (mail_talk_heard(&p->t, p->at + 3, n) < 0 ||
			    mail_talk_heard(&p->t, "\n", 1) < 0) {
				p->t.reply.code = 0;
				next(p);
				return mail_talk_lost(&p->t, CURLE_WEIRD_SERVER_REPLY,
						      "no reply that a server of mail gives");
			}
		} else if (!libcurl_says(p)) {
			astray(p, "it is nothing that is said before MAIL FROM", "");
			return MAIL_ENDED;
		}
		p->secured |= is_line(p, "STARTTLS");
	}
	if (*p->at && http_mail_demands_tls(q) && !p->secured)
		astray(p, "STARTTLS is demanded before it (the setting tls)", "");
	else if (*p->at && (!p->t.reply.ended || p->t.reply.code >= 400))
		astray(p, "nothing would be said after what the server said before it", "");
	p->over = !*p->at;
	return *p->at && !p->r->problem.len ? 0 : MAIL_ENDED;
}

/* ---- all of it ---- */

static int conclude(struct replaying *p, struct http_response *out)
{
	struct transfer *t = &p->t;
	const char *failure = p->over ? p->r->failure : NULL;

	out->unsent = !t->ended;
	if (!p->r->problem.len && *p->at)
		astray(p, "the dialogue would be over before it", "");
	if (p->r->problem.len)
		return -EBADMSG;
	if (t->unwanted)
		return -ESTALE;
	if (!failure && mail_talk_answer(t, out))
		return 0;
	if (t->result == CURLE_OK)
		t->result = CURLE_RECV_ERROR;
	return http_failed(out, failure ? failure : http_failure_word(t),
			   failure && p->r->detail ? p->r->detail : t->error);
}

int mail_replay(struct mail_replay *r, const struct http_request *q, struct http_response *out)
{
	static const struct mail_wire wire = { wire_send, wire_recv, wire_wait };
	struct replaying *p;
	int rc;

	assert(q->mail);
	if (!http_mail_is_sendable(q))
		return -EINVAL;
	http_response_clear(out);
	p = mem_new(struct replaying);
	p->r = r;
	p->at = buf_str(&r->dialogue->lines);
	p->t.is_mail = p->t.in_multi = true;
	p->t.wire = &wire;
	p->t.sending = q->sending;
	p->t.sending_arg = q->sending_arg;
	rc = connect_lines(p, q);
	if (rc == 0)
		rc = mail_talk(&p->t, q, INT64_MAX);
	rc = rc < 0 ? rc : conclude(p, out);
	mail_reply_clear(&p->t.reply);
	buf_clear(&p->t.ehlo);
	buf_clear(&p->heard);
	free(p);
	return rc;
}
