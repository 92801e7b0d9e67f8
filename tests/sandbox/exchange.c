#include "tests/sandbox/exchange.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/id.h"
#include "common/base/mem.h"

#define SECOND_US 1000000LL

void exchange_enlist(struct exchange *x, struct sandbox *s)
{
	x->sandbox = s;
	x->co = co_self();
	x->next = s->under_way;
	if (x->next)
		x->next->prev = x;
	s->under_way = x;
	if (s->stopping)
		co_cancel(x->co);
}

void exchange_leave(struct exchange *x)
{
	if (x->next)
		x->next->prev = x->prev;
	if (x->prev)
		x->prev->next = x->next;
	else
		x->sandbox->under_way = x->next;
}

const char *exchange_token(const struct exchange *x)
{
	const char *header = httpd_header(x->q, "Authorization");

	return header && strncasecmp(header, "Bearer ", 7) == 0 ? header + 7 : NULL;
}

static void exchange_log_answer(struct exchange *x, int status)
{
	if (x->answered)
		return;
	x->answered = true;
	journal_answer(x->sandbox->journal, x->seq, status);
}

static void exchange_drop(struct exchange *x)
{
	exchange_log_answer(x, -1);
	httpd_abort(x->q);
}

/* The answer that a fault orders.  false: it orders none, the ordinary one is due. */
static bool fault_answer(struct exchange *x)
{
	const struct fault *f = &x->fault;
	char seconds[24];

	if (f->abort) {
		exchange_drop(x);
		return true;
	}
	if (!f->status)
		return false;
	if (f->retry_after >= 0) {
		snprintf(seconds, sizeof(seconds), "%lld", (long long)f->retry_after);
		httpd_add_header(x->q, "Retry-After", seconds);
	}
	exchange_log_answer(x, f->status);
	if (f->body)
		httpd_reply(x->q, f->status, "application/json", f->body, strlen(f->body));
	else
		httpd_reply_text(x->q, f->status,
				 "{\"error\":\"Simulated\",\"message\":\"a fault was ordered\"}");
	return true;
}

static bool fault_take(struct exchange *x, const char *path)
{
	const char *query = httpd_raw_query(x->q);
	char *line = mem_printf("%s %s%s%s", httpd_method(x->q), path, *query ? "?" : "", query);
	bool acts = faults_take(x->sandbox->faults, line, x->account ? x->account->number : 0,
				&x->fault);

	free(line);
	if (acts)
		journal_fault(x->sandbox->journal, x->seq);
	return acts;
}

bool exchange_begin(struct exchange *x, struct sandbox *s, struct httpd_request *q)
{
	char request_id[ID_LEN + 1];
	const char *path = httpd_path(q), *token;

	*x = (struct exchange){ .q = q };
	exchange_enlist(x, s);
	x->arrived_us = journal_now_us(s->journal);
	x->seq = journal_arrival(s->journal, x->arrived_us, httpd_method(q), path,
				 httpd_raw_query(q), false);
	token = exchange_token(x);
	x->account = token ? accounts_by_token(s->accounts, token) : NULL;
	if (x->account)
		journal_account(s->journal, x->seq, x->account->number, x->account->in_flight + 1);
	id_new(request_id);
	httpd_add_header(q, "x-request-id", request_id);
	if (!fault_take(x, path))
		return true;
	if (x->fault.delay_ms > 0 && co_sleep("fault", x->fault.delay_ms) != 0) {
		exchange_drop(x);
		return false;
	}
	return x->fault.late || !fault_answer(x);
}

void exchange_end(struct exchange *x)
{
	if (x->admitted)
		x->account->in_flight--;
	fault_clear(&x->fault);
	exchange_leave(x);
}

bool sandbox_latency(struct sandbox *s)
{
	int64_t ms = s->latency_ms;

	if (s->jitter_ms > 0)
		ms += rng_between(&s->rng, (int)-s->jitter_ms, (int)s->jitter_ms);
	return ms <= 0 ? !s->stopping : co_sleep("latency", ms) == 0;
}

bool exchange_latency(struct exchange *x)
{
	if (sandbox_latency(x->sandbox))
		return true;
	exchange_drop(x);
	return false;
}

void exchange_reply_as(struct exchange *x, int status, const char *content_type,
		       const struct buf *answer)
{
	if (x->fault.late && fault_answer(x))
		return;
	exchange_log_answer(x, status);
	if (x->fault.body)
		httpd_reply(x->q, status, "application/json", x->fault.body, strlen(x->fault.body));
	else
		httpd_reply(x->q, status, content_type, buf_str(answer), answer->len);
}

void exchange_reply(struct exchange *x, int status, const struct buf *json)
{
	exchange_reply_as(x, status, "application/json; charset=utf-8", json);
}

void exchange_refuse(struct exchange *x, int status, const char *error, const char *message,
		     int64_t retry_after_us)
{
	struct buf body = BUF_INIT;
	char seconds[24];

	if (retry_after_us > 0) {
		snprintf(seconds, sizeof(seconds), "%lld",
			 (long long)((retry_after_us + SECOND_US - 1) / SECOND_US));
		httpd_add_header(x->q, "Retry-After", seconds);
	}
	buf_puts(&body, "{\"error\":");
	json_quote(&body, error, strlen(error));
	buf_puts(&body, ",\"message\":");
	json_quote(&body, message, strlen(message));
	buf_putc(&body, '}');
	exchange_reply(x, status, &body);
	buf_clear(&body);
}

static const char *tier_word(int64_t length_us, char other[32])
{
	if (length_us == SECOND_US)
		return "Second";
	if (length_us == 60 * SECOND_US)
		return "Minute";
	if (length_us == 3600 * SECOND_US)
		return "Hour";
	snprintf(other, 32, "%lldms", (long long)(length_us / 1000));
	return other;
}

void exchange_limit_headers(struct exchange *x)
{
	for (int i = 0; i < x->account->n_tiers; i++) {
		struct window *w = &x->account->served[i];
		int64_t left = w->tier.limit - window_count(w, journal_now_us(x->sandbox->journal));
		char other[32], name[64], value[24];
		const char *word = tier_word(w->tier.length_us, other);

		snprintf(name, sizeof(name), "X-RateLimit-Limit-%s", word);
		snprintf(value, sizeof(value), "%lld", (long long)w->tier.limit);
		httpd_add_header(x->q, name, value);
		snprintf(name, sizeof(name), "X-RateLimit-Remaining-%s", word);
		snprintf(value, sizeof(value), "%lld", (long long)(left > 0 ? left : 0));
		httpd_add_header(x->q, name, value);
	}
}
