/* Manifests from anywhere.  A refusal says why, with the place; what is accepted can be printed, and what is
 * printed is the same manifest. */
#include <stdlib.h>
#include <string.h>

#include "drivers/kit/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
	if (!holds)
		abort();
}

/* "manifest.json:LINE: ..." in each line. */
static void check_problems(const struct buf *problems)
{
	const char *p = buf_str(problems);

	need(*p != '\0');
	while (*p) {
		const char *end = strchr(p, '\n');

		need(end != NULL && strncmp(p, "manifest.json:", 14) == 0);
		p = end + 1;
	}
}

static void check_printed(const struct manifest *m)
{
	struct buf one = BUF_INIT, two = BUF_INIT, problems = BUF_INIT;
	struct manifest *again = NULL;

	manifest_print(m, &one);
	need(manifest_parse("manifest.json", one.data, one.len, &again, &problems) == 0);
	manifest_print(again, &two);
	need(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
	manifest_free(again);
	buf_clear(&one);
	buf_clear(&two);
	buf_clear(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf problems = BUF_INIT;
	struct manifest *m = NULL;

	if (manifest_parse("manifest.json", (const char *)data, size, &m, &problems) == 0) {
		need(problems.len == 0);
		check_printed(m);
		manifest_free(m);
	} else {
		need(m == NULL);
		check_problems(&problems);
	}
	buf_clear(&problems);
	return 0;
}
