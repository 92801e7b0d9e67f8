/* One exchange: the request into an easy handle, the wait, the answer out of it. */
#include "common/io/http.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/io/http_pool.h"

enum {
	WAIT_MS = 10000,
	CONNECT_MS = 5000,
	WRITE_MS = 10000,
	READ_MS = 10000,
	TOTAL_MS = 60000,
	CONNECT_ROOM_MS = 1000,
	BODY_BYTES_MAX = 16 * 1024 * 1024,
};

int http_global_init(void)
{
	const curl_version_info_data *v;
	const char *own = getenv("SSL_CERT_FILE"); /* as OpenSSL has it; libcurl looks elsewhere */

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	if (own && *own)
		http_set_ca_file(own);
	v = curl_version_info(CURLVERSION_NOW);
	return v->features & CURL_VERSION_ASYNCHDNS ? 0 : -ENOTSUP;
}

static bool has_break(const char *s)
{
	return s[strcspn(s, "\r\n")] != '\0';
}

static bool is_sendable(const struct http_request *q)
{
	bool ok = !has_break(q->url) && *q->method && !has_break(q->method) &&
		  !strchr(q->method, ' ');

	for (int i = 0; ok && i < q->n_headers; i++)
		ok = *q->headers[i].name && !has_break(q->headers[i].name) &&
		     !has_break(q->headers[i].value);
	return ok && (!q->mail || http_mail_is_sendable(q));
}

static void reset(struct http_response *r)
{
	struct buf body = r->body, headers = r->headers;

	buf_reset(&body);
	buf_reset(&headers);
	*r = (struct http_response){ .body = body, .headers = headers };
}

int http_failed(struct http_response *out, const char *failure, const char *detail)
{
	size_t n = strlen(detail);

	n = n < sizeof(out->detail) ? n : sizeof(out->detail) - 1;
	out->status = 0;
	out->failure = failure;
	memcpy(out->detail, detail, n);
	out->detail[n] = '\0';
	buf_clear(&out->body);
	buf_reset(&out->headers);
	return 0;
}

static void put_line(struct transfer *t, int *n, const char *name, const char *value)
{
	/* Offsets until all is there, for the buffer may move; "Name;" is libcurl's way to send
	 * an empty value, and "Name:" its way to leave its own header out. */
	t->lines[(*n)++].data = (char *)(uintptr_t)t->head.len;
	buf_puts(&t->head, name);
	if (!value)
		buf_putc(&t->head, ':');
	else if (!*value)
		buf_putc(&t->head, ';');
	else {
		buf_append(&t->head, ": ", 2);
		buf_puts(&t->head, value);
	}
	buf_putc(&t->head, '\0');
}

/* libcurl only reads the list, so it need not be of its own making. */
static void set_headers(struct transfer *t, const struct http_request *q)
{
	bool typed = false;
	int n = 0;

	if (t->lines_cap < q->n_headers + 2) {
		t->lines_cap = q->n_headers + 8;
		t->lines = mem_realloc(t->lines, (size_t)t->lines_cap * sizeof(*t->lines));
	}
	buf_reset(&t->head);
	for (int i = 0; i < q->n_headers; i++) {
		put_line(t, &n, q->headers[i].name, q->headers[i].value);
		typed = typed || strcasecmp(q->headers[i].name, "content-type") == 0;
	}
	if (!t->set.plain) {
		put_line(t, &n, "Expect", NULL);
		if (!typed)
			put_line(t, &n, "Content-Type", NULL);
	}
	for (int i = 0; i < n; i++) {
		t->lines[i].data = t->head.data + (uintptr_t)t->lines[i].data;
		t->lines[i].next = i + 1 < n ? &t->lines[i + 1] : NULL;
	}
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, n ? t->lines : NULL);
}

static void set_method(struct transfer *t, const struct http_request *q)
{
	bool get = strcmp(q->method, "GET") == 0, post = strcmp(q->method, "POST") == 0;
	bool body =
		q->body || post || strcmp(q->method, "PUT") == 0 || strcmp(q->method, "PATCH") == 0;
	bool plain = get && !body;

	t->is_head = strcmp(q->method, "HEAD") == 0;
	if (t->set.known && t->set.plain && plain)
		return;
	t->set.plain = plain;
	curl_easy_setopt(t->easy, CURLOPT_HTTPGET, 1L);
	if (body) {
		curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)(q->body ? q->body_len : 0));
		curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, q->body ? q->body : "");
	} else if (t->is_head) {
		curl_easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
	}
	curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST,
			 (get && !body) || (post && body) || t->is_head ? NULL : q->method);
}

static int64_t or_default(int64_t ms, int64_t otherwise_ms)
{
	return ms > 0 ? ms : otherwise_ms;
}

/* Plain HTTP is 1.1 for good; over TLS the server may agree on HTTP/2, and transfers wait for
 * the first connection to say so, where they would else open one each.
 * From when on libcurl counts connecting where it had to wait first depends on its version: its timeout has room for both, and
 * only backs up ours. */
static void set_transport(struct transfer *t, const struct http_request *q, bool tls)
{
	int64_t connect_ms = t->wait_ms + t->connect_ms + CONNECT_ROOM_MS;

	if (!t->set.known || t->set.tls != tls) {
		curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION,
				 (long)(tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
		curl_easy_setopt(t->easy, CURLOPT_PIPEWAIT, (long)tls);
	}
	if (!t->set.known || t->set.once != q->once) {
		curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, (long)q->once);
		curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 0L);
	}
	if (!t->set.known || t->set.connect_ms != connect_ms)
		curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	t->set.known = true;
	t->set.tls = tls;
	t->set.once = q->once;
	t->set.connect_ms = connect_ms;
}

/* With the first transfer of a shard to a host, and again when the address changed or aged. */
static void set_address(struct transfer *t, struct shard *s, struct http_host *h)
{
	if (!h || !http_host_must_give(h, s->index))
		return;
	memcpy(t->given, h->address, sizeof(t->given));
	snprintf(t->address, sizeof(t->address), "+%s:%d:%s", h->name, h->port, h->address);
	t->address_line = (struct curl_slist){ .data = t->address };
	curl_easy_setopt(t->easy, CURLOPT_RESOLVE, &t->address_line);
	t->gave_address = true;
}

static void prepare(struct transfer *t, const struct http_request *q, const struct http_url *u,
		    struct http_response *out)
{
	t->wait_ms = or_default(q->wait_ms, WAIT_MS);
	t->connect_ms = or_default(q->connect_ms, CONNECT_MS);
	t->write_ms = or_default(q->write_ms, WRITE_MS);
	t->read_ms = or_default(q->read_ms, READ_MS);
	set_method(t, q);
	set_transport(t, q, u->tls);
	set_headers(t, q);
	curl_easy_setopt(t->easy, CURLOPT_URL, q->url);
	t->out = out;
	t->max_body = q->max_body_bytes ? q->max_body_bytes : BODY_BYTES_MAX;
	t->done = (struct completion){ 0 };
	t->too_large = t->gave_address = t->unwanted = t->is_private = false;
	t->is_mail = t->ended = false;
	t->host = u->host;
	t->sending = q->sending;
	t->sending_arg = q->sending_arg;
	t->stop = NULL;
	t->phase = PHASE_WAITING;
	t->sent = 0;
	t->to_send = q->body ? (curl_off_t)q->body_len : 0;
	t->error[0] = '\0';
	t->began_ms = t->last_ms = loop_now_ms();
}

static const char *connect_failure(CURL *easy)
{
	long number = 0;

	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
	return number == ECONNREFUSED ? "refused" : number == ETIMEDOUT ? "timeout" : "network";
}

const char *http_failure_word(const struct transfer *t)
{
	if (t->too_large)
		return "too_large";
	if (t->is_private)
		return "private";
	switch (t->result) {
	case CURLE_OPERATION_TIMEDOUT:
		return "timeout";
	case CURLE_COULDNT_RESOLVE_HOST:
		return "dns";
	case CURLE_COULDNT_CONNECT:
		return connect_failure(t->easy);
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_USE_SSL_FAILED:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return "tls";
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return "reset";
	default:
		return "network";
	}
}

static void measure(const struct transfer *t, struct http_response *out)
{
	curl_off_t down = 0, up = 0;
	long head_down = 0, head_up = 0, connects = 0;

	curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(t->easy, CURLINFO_HEADER_SIZE, &head_down);
	curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &head_up);
	curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
	out->bytes_down = down + head_down;
	/* A small body is sent, and counted, with the head. */
	out->bytes_up = up > head_up ? up + head_up : head_up;
	out->reused = connects == 0;
	out->duration_ms = loop_now_ms() - t->began_ms;
}

static int conclude(struct http_pool *p, struct transfer *t, const struct http_url *u,
		    struct http_response *out)
{
	long status = 0;

	measure(t, out);
	out->unsent = t->is_mail && !t->ended;
	if (t->unwanted)
		return -ESTALE;
	if (t->is_mail && !t->stop && mail_talk_answer(t, out))
		return 0;
	if (t->stop) {
		if (t->phase == PHASE_CONNECTING)
			http_host_doubt(p->hosts, u);
		return http_failed(out, t->stop, t->error);
	}
	if (t->result == CURLE_OK && !t->is_mail) {
		if (t->gave_address)
			http_host_gave(p->hosts, u, t->shard->index, t->given);
		curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
		out->status = (int)status;
		return 0;
	}
	if (t->result == CURLE_URL_MALFORMAT) {
		http_failed(out, "network", t->error);
		return -EINVAL;
	}
	if (t->result == CURLE_COULDNT_CONNECT || t->result == CURLE_OPERATION_TIMEDOUT)
		http_host_doubt(p->hosts, u);
	if (t->too_large)
		snprintf(t->error, sizeof(t->error), "the answer has more than %zu bytes",
			 t->max_body);
	if (t->is_private)
		snprintf(
			t->error, sizeof(t->error),
			"its address is one that only we reach: LONGSHORE_PRIVATE_TARGETS allows some");
	return http_failed(out, http_failure_word(t),
			   t->error[0] ? t->error : curl_easy_strerror(t->result));
}

/* A handle that ended badly may be in any state: the next request gets a new one. */
static void put_back(struct http_pool *p, struct transfer *t, bool good)
{
	if (!good || t->pool_gone) {
		http_transfer_free(t);
		return;
	}
	if (t->gave_address)
		curl_easy_setopt(t->easy, CURLOPT_RESOLVE, NULL);
	http_transfer_keep(p, t);
}

static int ran_out(int rc, int64_t end_ms, int64_t total_ms, struct http_response *out)
{
	char text[80];

	reset(out);
	if (rc != -ETIMEDOUT || co_deadline(co_self()) <= end_ms || loop_now_ms() < end_ms)
		return rc;
	snprintf(text, sizeof(text), "no complete answer within %lld ms", (long long)total_ms);
	out->duration_ms = total_ms;
	return http_failed(out, "timeout", text);
}

int http_send(struct http_pool *p, const struct http_request *q, struct http_response *out)
{
	int64_t total_ms = or_default(q->total_ms, TOTAL_MS), end_ms = loop_now_ms() + total_ms;
	struct http_host *host = NULL;
	struct transfer *t;
	struct shard *s;
	struct http_url u;
	char text[160];
	int rc;

	assert(co_self());
	if (http_url_parse(q->url, &u) < 0 || u.mail != !!q->mail || !is_sendable(q))
		return -EINVAL;
	if (co_is_cancelled())
		return -ECANCELED;
	reset(out);
	out->sent_at_us = clock_real_us();
	rc = http_host_find(p->hosts, &u, end_ms, &host, text);
	if (rc == -EHOSTUNREACH)
		return http_failed(out, "dns", text);
	if (rc < 0)
		return ran_out(rc, end_ms, total_ms, out);
	t = http_transfer_get(p);
	s = http_shard_pick(p);
	prepare(t, q, &u, out);
	if (q->mail)
		http_mail_prepare(t, q);
	set_address(t, s, host);
	out->sent_at_us = clock_real_us();
	failpoint_before(t, q->mail ? failpoint_smtp_next(NULL, false, false, 0)
				    : failpoint_http(q->method, q->url));
	if (!http_transfer_begin(p, s, t)) {
		http_transfer_free(t);
		return http_failed(out, "network", "libcurl refused the transfer");
	}
	rc = completion_wait(&t->done, "http", end_ms);
	if (rc == 0 && t->in_multi)
		rc = http_mail_talk(t, q, end_ms);
	if (rc == 0 && !q->mail)
		failpoint_after(t);
	if (t->in_multi)
		http_transfer_end(t);
	if (rc < 0)
		rc = ran_out(rc, end_ms, total_ms, out);
	else if (t->pool_gone)
		rc = -ECANCELED;
	else
		rc = conclude(p, t, &u, out);
	put_back(p, t, rc == 0 && !out->failure && !q->mail);
	return rc;
}
