/* Overrides from anywhere, over one manifest.  A refusal says why, with the place; what is accepted is a manifest that can be
 * printed and read again. */
#include <stdlib.h>
#include <string.h>

#include "drivers/kit/overlay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char base_text[] =
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h.example/v1\"}},"
	" \"limits\": [{\"rate\": 10, \"window\": \"1s\"}, {\"scope\": \"partner\", \"rate\": 100, \"window\": \"1s\"}],"
	" \"collections\": {\"a\": {\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\","
	" \"map\": {\"name\": \"n\", \"city\": \"c\"}, \"extra\": [\"x\"]}}}";

static void need(bool holds)
{
	if (!holds)
		abort();
}

static void check_printed(const struct manifest *m)
{
	struct buf text = BUF_INIT, problems = BUF_INIT;
	struct manifest *again = NULL;

	manifest_print(m, &text);
	need(manifest_parse("manifest.json", text.data, text.len, &again, &problems) == 0);
	manifest_free(again);
	buf_clear(&text);
	buf_clear(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct manifest *base;
	struct buf problems = BUF_INIT;
	struct manifest *own = NULL;

	if (!base)
		need(manifest_parse("manifest.json", base_text, strlen(base_text), &base,
				    &problems) == 0);
	if (manifest_overlay(base, "o.json", (const char *)data, size, &own, &problems) == 0) {
		need(problems.len == 0);
		check_printed(own);
		manifest_free(own);
	} else {
		need(own == NULL && strncmp(buf_str(&problems), "o.json:", 7) == 0);
	}
	buf_clear(&problems);
	return 0;
}
