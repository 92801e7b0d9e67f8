/* Payloads as anyone may push them, and members as a hand may have edited them.  What parses must be whole, and what
 * is printed must parse again to the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(int holds)
{
	if (!holds)
		abort();
}

static void fuzz_payload(const char *p, size_t n)
{
	struct err err = { 0 };
	struct job j, again;
	struct buf b = BUF_INIT;

	if (job_parse(p, n, &j, &err) < 0) {
		need(err.class == ERR_BAD_JOB && err.text[0]);
		return;
	}
	need(j.task && j.task[0] && j.integration_id >= 0 && j.run_id >= 0);
	job_print(&b, j.task, j.integration_id, j.args, j.run_id, j.parent);
	if (b.len <= JOB_MAX_BYTES) {
		need(job_parse(b.data, b.len, &again, &err) == 0);
		need(strcmp(again.task, j.task) == 0 && again.integration_id == j.integration_id);
		job_clear(&again);
	}
	buf_clear(&b);
	job_clear(&j);
}

static void fuzz_member(const char *p, size_t n)
{
	struct job_header h, again;
	int64_t integration, routed;
	const char *payload, *copy;
	size_t len, copy_len;
	struct buf b = BUF_INIT;

	if (job_member_parse(p, n, &h, &integration, &payload, &len) < 0)
		return;
	need(payload + len == p + n && h.id[0] && integration >= 0);
	buf_printf(&b, "100000000000001 %lld ", (long long)integration);
	job_header_print(&h, &b);
	buf_putc(&b, '\n');
	buf_append(&b, payload, len);
	need(job_member_parse(b.data, b.len, &again, &routed, &copy, &copy_len) == 0);
	need(routed == integration && strcmp(again.id, h.id) == 0 && again.born_ms == h.born_ms);
	need(copy_len == len && memcmp(copy, payload, len) == 0);
	buf_clear(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of exactly this size: reading past the end is seen by the sanitizer. */
	char *copy = mem_alloc(size ? size : 1);

	memcpy(copy, data, size);
	fuzz_payload(copy, size);
	fuzz_member(copy, size);
	free(copy);
	return 0;
}
