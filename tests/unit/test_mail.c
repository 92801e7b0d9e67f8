/* Mails by the HTTP client's pool, against a server (mail_server.py) that does what the recipient's name says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/io/co.h"
#include "common/io/http.h"
#include "common/io/loop.h"
#include "common/io/mail_replay.h"
#include "common/io/mail_reply.h"

static char directory[] = "/tmp/longshore-test-mail-XXXXXX";
static char cert[64], key[64], journal[64];
static struct http_pool *pool;
static pid_t server;
static const char *server_auth; /* what it offers, or its size; NULL: all, a million */
static int port;

/* Also where a coroutine runs: cmocka's asserts do not unwind from there. */
#define OK(c)                                                                   \
	do {                                                                    \
		if (!(c)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #c); \
			abort();                                                \
		}                                                               \
	} while (0)

static void quiet_exec(char *const *argv)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, 2) < 0)
		_exit(126);
	execvp(argv[0], argv);
	_exit(127);
}

static int make_cert(void)
{
	char *make[] = { "openssl",  "req",
			 "-x509",    "-newkey",
			 "rsa:2048", "-nodes",
			 "-keyout",  key,
			 "-out",     cert,
			 "-days",    "2",
			 "-subj",    "/CN=localhost",
			 "-addext",  "subjectAltName=DNS:localhost",
			 NULL };
	pid_t pid = fork();
	int status = -1;

	if (pid == 0)
		quiet_exec(make);
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static void server_start(bool with_cert, bool tls)
{
	char *serve[] = { "/usr/bin/python3",
			  "tests/unit/mail_server.py",
			  journal,
			  with_cert ? cert : NULL,
			  with_cert ? key : NULL,
			  NULL,
			  NULL,
			  NULL };
	char text[16] = "";
	int out[2], n = with_cert ? 5 : 3;

	if (tls)
		serve[n++] = "tls";
	if (server_auth)
		serve[n++] = (char *)server_auth;
	unlink(journal);
	OK(pipe(out) == 0);
	server = fork();
	if (server == 0) {
		if (dup2(out[1], 1) < 0)
			_exit(126);
		quiet_exec(serve);
	}
	close(out[1]);
	OK(read(out[0], text, sizeof(text) - 1) > 0);
	close(out[0]);
	port = (int)strtol(text, NULL, 10);
	pool = http_pool_new("test", 0);
}

static void server_stop(void)
{
	http_pool_free(pool);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

/* How often the journal has all of these. */
static int count(const char *a, const char *b)
{
	static char line[8192];
	FILE *f = fopen(journal, "r");
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, a) && strstr(line, b);
	if (f)
		fclose(f);
	return n;
}

static const char message[] = "Subject: hello\r\n\r\n.one\r\n..two\r\nthree\r\n";

struct sent {
	struct http_mail mail;
	struct http_request q;
	struct http_response r;
	char url[80];
	int rc;
};

static int asked; /* whether it may be sent */
static bool answer = true;

static bool may_send(void *arg)
{
	asked++;
	return answer;
}

static void prepare(struct sent *s, const char *scheme, const char *to)
{
	*s = (struct sent){ .mail = { .from = "desk@example.com", .to = to, .plain = true } };
	snprintf(s->url, sizeof(s->url), "%s://localhost:%d/", scheme, port);
	s->q = (struct http_request){ .method = "POST",
				      .url = s->url,
				      .mail = &s->mail,
				      .body = message,
				      .body_len = strlen(message),
				      .sending = may_send };
	http_response_init(&s->r);
}

static int send_to(struct sent *s, const char *to)
{
	prepare(s, "smtp", to);
	return http_send(pool, &s->q, &s->r);
}

static void test_taken(void)
{
	struct sent s;

	server_start(false, false);
	asked = 0;
	OK(send_to(&s, "ann@example.com") == 0);
	OK(s.r.status == 250 && s.r.mail && !s.r.unsent && !s.r.failure);
	OK(strcmp(buf_str(&s.r.body), "250 2.0.0 Ok: queued as 4FBX1") == 0);
	OK(asked == 1);
	OK(count("\"taken\"", "Subject: hello\\n\\n.one\\n..two\\nthree\\n\"") == 1);
	http_response_clear(&s.r);
	answer = false;
	OK(send_to(&s, "bob@example.com") == -ESTALE);
	OK(count("bob", "") == 0);
	answer = true;
	http_response_clear(&s.r);
	server_stop();
}

/* Who has a password and is not asked for it is not taken for somebody. */
static void not_asked(void)
{
	struct sent s;

	prepare(&s, "smtp", "ann@example.com");
	s.mail.user = "desk";
	s.mail.password = "s3cret";
	OK(http_send(pool, &s.q, &s.r) == 0 && s.r.status == 0 && s.r.unsent);
	OK(strstr(s.r.detail, "offers no login by a user's name"));
	http_response_clear(&s.r);
}

#define LONG_BYTES (16 << 20) /* more than the kernel takes of what nobody reads */

static char *long_body(void)
{
	char *body = malloc(LONG_BYTES);

	OK(body);
	for (size_t i = 0; i < LONG_BYTES; i++)
		body[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'x';
	return body;
}

static void refused_as_long(const char *to, const char *what)
{
	char *body = long_body();
	struct sent s;

	prepare(&s, "smtp", to);
	s.q.body = body;
	s.q.body_len = LONG_BYTES;
	OK(http_send(pool, &s.q, &s.r) == 0 && s.r.status == 552 && s.r.unsent);
	OK(strstr(buf_str(&s.r.body), what));
	http_response_clear(&s.r);
	free(body);
}

/* A word of the server's is its answer, and says that nothing was sent, or that it was not taken. */
static void test_refused(void)
{
	static const struct {
		const char *to;
		int status;
		const char *text;
		bool unsent;
	} cases[] = {
		{ "later@example.com", 451, "451 4.7.1 greylisted, come again", true },
		{ "later@example.com", 250, "250 2.0.0 Ok: queued as 4FBX1", false },
		{ "refused@example.com", 550, "550 5.1.1 no such user", true },
		{ "echo@example.com", 550, "550 5.1.1 <***>: no such user", true },
		{ "tired@example.com", 421, "421 4.3.2 not now", true },
		{ "full@example.com", 552, "552 5.2.2 mailbox is full", false },
		{ "leaving@example.com", 250, "250 2.0.0 Ok: queued as 4FBX1", false },
	};
	struct sent s;

	server_start(false, false);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		OK(send_to(&s, cases[i].to) == 0);
		OK(s.r.status == cases[i].status && s.r.mail && s.r.unsent == cases[i].unsent);
		OK(strcmp(buf_str(&s.r.body), cases[i].text) == 0);
		http_response_clear(&s.r);
	}
	not_asked();
	/* Before any of it is sent; or in the middle, by a server that says so and goes. */
	refused_as_long("long@example.com", "longer than any");
	OK(count("begun", "long@") == 0);
	server_stop();
	server_auth = "size=64000000";
	server_start(false, false);
	refused_as_long("loud@example.com", "not one byte more");
	OK(count("begun", "loud@") == 1);
	server_auth = NULL;
	server_stop();
}

static int endings;

/* Not before the server has heard of the message, nor before it has gone where it goes. */
static int wait_for_it(void *arg)
{
	const char *what = arg;

	while (count(what, "") == 0)
		if (co_sleep("journal", 2) < 0)
			return -ECANCELED;
	endings++;
	return strstr(what, "begun") ? -EAGAIN : 0;
}

/* No word: what was not ended was not sent; of the rest nobody knows. */
static void test_lost(void)
{
	struct sent s;

	server_start(false, false);
	OK(send_to(&s, "noisy@example.com") == 0);
	OK(s.r.status == 0 && strcmp(s.r.failure, "network") == 0 && s.r.unsent);
	http_response_clear(&s.r);
	for (int i = 0; i < 2; i++) {
		prepare(&s, "smtp", i == 0 ? "dropped@example.com" : "cut@example.com");
		s.q.ending = wait_for_it;
		s.q.sending_arg = i == 0 ? "\"closed\", \"tls\": false, \"to\": \"dropped"
					 : "\"closed\", \"tls\": false, \"to\": \"cut";
		OK(http_send(pool, &s.q, &s.r) == 0);
		OK(s.r.status == 0 && strcmp(s.r.failure, "reset") == 0 && s.r.unsent);
		http_response_clear(&s.r);
	}
	OK(send_to(&s, "cut@example.com") == 0 && s.r.status == 250);
	http_response_clear(&s.r);
	OK(endings > 0);
	/* Whoever may not end it has not sent it. */
	prepare(&s, "smtp", "eve@example.com");
	s.q.ending = wait_for_it;
	s.q.sending_arg = "\"begun\", \"tls\": false, \"to\": \"eve";
	OK(http_send(pool, &s.q, &s.r) == -EAGAIN);
	OK(send_to(&s, "gone@example.com") == 0);
	OK(s.r.status == 0 && strcmp(s.r.failure, "reset") == 0 && !s.r.unsent);
	http_response_clear(&s.r);
	prepare(&s, "smtp", "mute@example.com");
	s.q.read_ms = 2500;
	OK(http_send(pool, &s.q, &s.r) == 0);
	OK(s.r.status == 0 && strcmp(s.r.failure, "timeout") == 0 && !s.r.unsent);
	http_response_clear(&s.r);
	server_stop();
	OK(count("\"taken\"", "gone@") == 1 && count("\"begun\"", "dropped@") == 1);
	OK(count("\"taken\"", "cut@") == 1 && count("\"taken\"", "eve@") == 0);
	pool = http_pool_new("test", 0);
	OK(send_to(&s, "ann@example.com") == 0); /* nobody is there */
	OK(s.r.status == 0 && strcmp(s.r.failure, "refused") == 0 && s.r.unsent);
	http_response_clear(&s.r);
	http_pool_free(pool);
}

/* What was written down of a mail comes to the same again, without its server. */
static void comes_again(const char *to, const char *password, int status, const char *failure)
{
	struct mail_dialogue d = { 0 };
	struct mail_replay again = { .dialogue = &d };
	struct http_response r;
	struct sent s;

	prepare(&s, "smtp", to);
	s.mail = (struct http_mail){ .from = "desk@example.com",
				     .to = to,
				     .user = "desk",
				     .password = password,
				     .dialogue = &d };
	OK(http_send(pool, &s.q, &s.r) == 0 && s.r.status == status);
	OK(status || strcmp(s.r.failure, failure) == 0);
	OK(!strstr(d.lines.data, "@example.com") && !strstr(d.lines.data, "cret"));
	again.failure = s.r.failure;
	again.detail = s.r.detail;
	http_response_init(&r);
	OK(mail_replay(&again, &s.q, &r) == 0);
	OK(r.status == s.r.status && r.unsent == s.r.unsent && r.mail == s.r.mail);
	OK(r.failure == s.r.failure && strcmp(r.detail, s.r.detail) == 0);
	OK(strcmp(buf_str(&r.body), buf_str(&s.r.body)) == 0);
	http_response_clear(&r);
	http_response_clear(&s.r);
	mail_dialogue_clear(&d);
}

static void written_down(void)
{
	comes_again("ann@example.com", "s3cret", 250, NULL);
	comes_again("ann@example.com", "secret", 535, NULL);
	comes_again("echo@example.com", "s3cret", 550, NULL);
	comes_again("full@example.com", "s3cret", 552, NULL);
	comes_again("noisy@example.com", "s3cret", 0, "network");
	comes_again("cut@example.com", "s3cret", 0, "reset");
	comes_again("gone@example.com", "s3cret", 0, "reset");
}

/* TLS is demanded unless it is said otherwise, and the password goes nowhere without it. */
static void test_tls(void)
{
	struct sent s;

	http_set_ca_file(cert);
	server_start(true, false);
	prepare(&s, "smtp", "ann@example.com");
	s.mail = (struct http_mail){ .from = "desk@example.com",
				     .to = "ann@example.com",
				     .user = "desk",
				     .password = "s3cret" };
	OK(http_send(pool, &s.q, &s.r) == 0 && s.r.status == 250);
	OK(count("\"taken\"", "\"tls\": true") == 1 && count("\"login\"", "\"good\": true") == 1);
	s.mail.password = "other";
	OK(http_send(pool, &s.q, &s.r) == 0);
	OK(s.r.status == 535 && s.r.mail && s.r.unsent);
	http_response_clear(&s.r);
	written_down();
	http_set_ca_file(NULL);
	http_pool_free(pool);
	pool = http_pool_new("test", 0);
	OK(http_send(pool, &s.q, &s.r) == 0); /* nobody vouches for it */
	OK(s.r.status == 0 && strcmp(s.r.failure, "tls") == 0 && s.r.unsent);
	http_response_clear(&s.r);
	server_stop();
	server_start(false, false); /* no STARTTLS */
	prepare(&s, "smtp", "ann@example.com");
	s.mail.plain = false;
	OK(http_send(pool, &s.q, &s.r) == 0);
	OK(s.r.status == 0 && strcmp(s.r.failure, "tls") == 0 && s.r.unsent);
	http_response_clear(&s.r);
	server_stop();
	http_set_ca_file(cert);
	server_start(true, true);
	prepare(&s, "smtps", "ann@example.com");
	s.mail.plain = false;
	OK(http_send(pool, &s.q, &s.r) == 0 && s.r.status == 250);
	http_response_clear(&s.r);
	server_stop();
	http_set_ca_file(NULL);
}

/* By a token; why it is refused is told, and the server ends the dialogue itself. */
static void test_tokens(void)
{
	static const struct {
		const char *auth, *how;
	} cases[] = { { NULL, "\"how\": \"XOAUTH2\"" },
		      { "auth=LOGIN,OAUTHBEARER", "\"how\": \"OAUTHBEARER\"" } };
	struct sent s;

	http_set_ca_file(cert);
	for (int i = 0; i < 2; i++) {
		server_auth = cases[i].auth;
		server_start(true, false);
		prepare(&s, "smtp", "ann@example.com");
		s.mail = (struct http_mail){ .from = "desk@example.com",
					     .to = "ann@example.com",
					     .user = "d,e=sk@example.com",
					     .token = "t0ken" };
		OK(http_send(pool, &s.q, &s.r) == 0 && s.r.status == 250);
		OK(count(cases[i].how, "\"good\": true") == 1);
		OK(count(i ? "d=2Ce=3Dsk@example.com" : "d,e=sk@example.com", "login") == 1);
		s.mail.token = "other";
		OK(http_send(pool, &s.q, &s.r) == 0);
		OK(s.r.status == 535 && s.r.mail && s.r.unsent);
		OK(strstr(buf_str(&s.r.body),
			  "535 5.7.8 Username and Password not accepted {\"status\":\"401\""));
		OK(count("\"gave up\"", "\"good\": true") == 1 && count("\"taken\"", "") == 1);
		s.mail.token = "two words";
		OK(http_send(pool, &s.q, &s.r) == 0 && s.r.status == 0 && s.r.unsent);
		http_response_clear(&s.r);
		server_stop();
	}
	server_auth = "auth=PLAIN,LOGIN"; /* no tokens: nothing is said of it */
	server_start(true, false);
	prepare(&s, "smtp", "ann@example.com");
	s.mail = (struct http_mail){ .from = "desk@example.com",
				     .to = "ann@example.com",
				     .user = "desk",
				     .token = "t0ken" };
	OK(http_send(pool, &s.q, &s.r) == 0 && s.r.status == 0 && s.r.unsent);
	OK(strstr(s.r.detail, "offers no login by a token") && count("login", "") == 0);
	http_response_clear(&s.r);
	server_stop();
	server_auth = NULL;
	http_set_ca_file(NULL);
}

/* No address can say a command of its own, and no line break that is half of one can end the message. */
static void test_unsendable(void)
{
	static const char *const bad[] = {
		"a@b.c\r\nRCPT TO:<d@e.f>", "a@b.c> x", "<a@b.c", "a b@c.d", "", "\x80@b.c"
	};
	static const char *const halves[] = { "a\n.\nMAIL FROM:<x@y.z>\r\n", "a\r.\r\r\n", "\na",
					      "a\r" };
	struct sent s;

	server_start(false, false);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		OK(send_to(&s, bad[i]) == -EINVAL);
		prepare(&s, "smtp", "ann@example.com");
		s.mail.from = bad[i];
		OK(http_send(pool, &s.q, &s.r) == -EINVAL);
	}
	for (size_t i = 0; i < sizeof(halves) / sizeof(halves[0]); i++) {
		prepare(&s, "smtp", "ann@example.com");
		s.q.body = halves[i];
		s.q.body_len = strlen(halves[i]);
		OK(http_send(pool, &s.q, &s.r) == -EINVAL);
	}
	prepare(&s, "smtp", "ann@example.com");
	s.q.body = "a\0b\r\n";
	s.q.body_len = 5;
	OK(http_send(pool, &s.q, &s.r) == -EINVAL);
	prepare(&s, "http", "ann@example.com");
	OK(http_send(pool, &s.q, &s.r) == -EINVAL);
	prepare(&s, "smtp", "ann@example.com");
	s.q.mail = NULL;
	OK(http_send(pool, &s.q, &s.r) == -EINVAL);
	server_stop();
}

static void send_mute(void *arg)
{
	struct sent *s = arg;

	s->rc = http_send(pool, &s->q, &s->r);
	http_response_clear(&s->r);
	s->url[0] = '\0'; /* it has ended */
}

static void wait_ended(struct sent *v, int n)
{
	for (int i = 0; i < n; i++)
		while (v[i].url[0])
			OK(co_sleep("end", 2) == 0);
}

/* Ended from outside while the server says nothing, one by one and with the pool; the loop goes on meanwhile. */
static void test_cancelled(void)
{
	static struct sent v[8];
	struct co *co[8];

	server_start(false, false);
	for (int i = 0; i < 8; i++) {
		prepare(&v[i], "smtp", "mute@example.com");
		co[i] = co_spawn("mute", send_mute, &v[i]);
		OK(co[i]);
	}
	while (count("\"taken\"", "mute") < 8)
		OK(co_sleep("taken", 5) == 0);
	for (int i = 0; i < 4; i++)
		co_cancel(co[i]);
	wait_ended(v, 4);
	http_pool_free(pool);
	pool = NULL;
	wait_ended(v + 4, 4);
	for (int i = 0; i < 8; i++)
		OK(v[i].rc == -ECANCELED);
	server_stop();
}

/* ---- replies ---- */

static void test_replies(void **state)
{
	struct mail_reply r = { 0 };
	char *flood = malloc(MAIL_REPLY_BYTES_MAX + 8);

	assert_int_equal(mail_reply_feed(&r, "250-mail.exam", 13), 0);
	assert_false(r.ended);
	assert_int_equal(mail_reply_feed(&r, "ple.com\r\n250 \001SIZE\r\n", 20), 0);
	assert_true(r.ended);
	assert_int_equal(r.code, 250);
	assert_string_equal(buf_str(&r.text), "250-mail.example.com\n250  SIZE");
	assert_int_equal(mail_reply_feed(&r, "354\n", 4), 0); /* the next */
	assert_int_equal(r.code, 354);
	assert_int_equal(mail_reply_feed(&r, "HTTP/1.1 200\r\n", 14), -EBADMSG);
	mail_reply_clear(&r);
	assert_int_equal(mail_reply_feed(&r, "650 x\r\n", 7), -EBADMSG);
	mail_reply_clear(&r);
	memset(flood, 'x', MAIL_REPLY_BYTES_MAX + 8);
	assert_int_equal(mail_reply_feed(&r, flood, MAIL_REPLY_BYTES_MAX + 8), -EBADMSG);
	mail_reply_clear(&r);
	free(flood);
}

static void in_coroutine(void *arg)
{
	void (**fn)(void) = arg;

	(*fn)();
	loop_stop();
}

static void run(void **state)
{
	assert_non_null(co_spawn("test", in_coroutine, *state));
	assert_int_equal(loop_run(), 0);
}

#define T(f)                                           \
	{                                              \
#f, run, NULL, NULL, &(void (*)(void)) \
		{                                      \
			f                              \
		}                                      \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_taken),     T(test_refused),
		T(test_lost),      T(test_tls),
		T(test_tokens),    T(test_unsendable),
		T(test_cancelled), cmocka_unit_test(test_replies),
	};
	int failed;

	if (loop_init() < 0 || http_global_init() < 0 || !mkdtemp(directory))
		return 1;
	snprintf(cert, sizeof(cert), "%s/cert", directory);
	snprintf(key, sizeof(key), "%s/key", directory);
	snprintf(journal, sizeof(journal), "%s/journal", directory);
	if (make_cert() < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	loop_close();
	unlink(cert);
	unlink(key);
	unlink(journal);
	rmdir(directory);
	return failed;
}
