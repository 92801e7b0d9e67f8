#include "tests/sandbox/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"

struct entry {
	int64_t at_us, answered_us; /* answered 0: not yet */
	const char *path;
	int account, in_flight, status;
	bool constant, fault;
	char method[8];
};

#define STATUS_MAX 600

struct journal {
	struct entry *ring;
	uint64_t first, next; /* sequence numbers kept: first <= seq < next */
	uint64_t reset_at;    /* what was before was dropped on purpose, not lost */
	int64_t real_minus_mono_us;
	int64_t by_status[STATUS_MAX];
	int64_t closed;
};

struct journal *journal_new(void)
{
	struct journal *j = mem_new(struct journal);

	j->ring = mem_zalloc(JOURNAL_MAX * sizeof(*j->ring));
	j->real_minus_mono_us = clock_real_us() - clock_mono_us();
	return j;
}

static void entry_clear(struct entry *e)
{
	if (!e->constant)
		free((char *)e->path);
	*e = (struct entry){ 0 };
}

void journal_reset(struct journal *j)
{
	for (uint64_t seq = j->first; seq < j->next; seq++)
		entry_clear(&j->ring[seq % JOURNAL_MAX]);
	j->first = j->reset_at = j->next;
	memset(j->by_status, 0, sizeof(j->by_status));
	j->closed = 0;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	journal_reset(j);
	free(j->ring);
	free(j);
}

int64_t journal_now_us(const struct journal *j)
{
	return clock_mono_us() + j->real_minus_mono_us;
}

static char *path_copy(const char *path, const char *query)
{
	char *text = *query ? mem_printf("%s?%s", path, query) : mem_strdup(path);

	if (strlen(text) > JOURNAL_PATH_MAX)
		text[JOURNAL_PATH_MAX] = '\0';
	return text;
}

uint64_t journal_arrival(struct journal *j, int64_t now_us, const char *method, const char *path,
			 const char *query, bool constant)
{
	struct entry *e;

	if (j->next - j->first == JOURNAL_MAX)
		entry_clear(&j->ring[j->first++ % JOURNAL_MAX]);
	e = &j->ring[j->next % JOURNAL_MAX];
	e->at_us = now_us;
	e->constant = constant;
	e->path = constant ? path : path_copy(path, query);
	snprintf(e->method, sizeof(e->method), "%s", method);
	return j->next++;
}

static struct entry *entry_at(struct journal *j, uint64_t seq)
{
	return seq >= j->first && seq < j->next ? &j->ring[seq % JOURNAL_MAX] : NULL;
}

void journal_account(struct journal *j, uint64_t seq, int account, int in_flight)
{
	struct entry *e = entry_at(j, seq);

	if (!e)
		return;
	e->account = account;
	e->in_flight = in_flight;
}

void journal_fault(struct journal *j, uint64_t seq)
{
	struct entry *e = entry_at(j, seq);

	if (e)
		e->fault = true;
}

void journal_answer(struct journal *j, uint64_t seq, int status)
{
	struct entry *e = entry_at(j, seq);

	if (status < 0)
		j->closed++;
	else if (status < STATUS_MAX)
		j->by_status[status]++;
	if (!e)
		return;
	e->status = status;
	e->answered_us = journal_now_us(j);
}

static void entry_print(const struct entry *e, uint64_t seq, struct buf *out)
{
	buf_printf(out,
		   "{\"seq\":%llu,\"at_us\":%lld,\"answered_us\":%lld,\"method\":\"%s\",\"path\":",
		   (unsigned long long)seq, (long long)e->at_us, (long long)e->answered_us,
		   e->method);
	json_quote(out, e->path, strlen(e->path));
	if (e->account)
		buf_printf(out, ",\"account\":\"acct-%d\"", e->account);
	else
		buf_puts(out, ",\"account\":null");
	buf_printf(out, ",\"status\":%d,\"in_flight\":%d,\"fault\":%s}", e->status, e->in_flight,
		   e->fault ? "true" : "false");
}

void journal_print(const struct journal *j, uint64_t since, int limit, int account, struct buf *out)
{
	uint64_t from = since > j->reset_at ? since : j->reset_at;
	uint64_t seq = from > j->first ? from : j->first;
	uint64_t lost = from < j->first ? j->first - from : 0;
	const char *comma = "";
	int printed = 0;

	buf_puts(out, "{\"entries\":[");
	for (; seq < j->next && printed < limit; seq++) {
		const struct entry *e = &j->ring[seq % JOURNAL_MAX];

		if (account && e->account != account)
			continue;
		buf_puts(out, comma);
		entry_print(e, seq, out);
		comma = ",\n";
		printed++;
	}
	buf_printf(out, "],\"next\":%llu,\"lost\":%llu}", (unsigned long long)seq,
		   (unsigned long long)lost);
}

void journal_counts_print(const struct journal *j, struct buf *out)
{
	const char *comma = "";

	buf_putc(out, '{');
	for (int status = 0; status < STATUS_MAX; status++) {
		if (!j->by_status[status])
			continue;
		buf_printf(out, "%s\"%d\":%lld", comma, status, (long long)j->by_status[status]);
		comma = ",";
	}
	if (j->closed)
		buf_printf(out, "%s\"-1\":%lld", comma, (long long)j->closed);
	buf_putc(out, '}');
}
