/* Answers in other formats, from anywhere: the first byte says which.  What is read becomes JSON that parses, and no more of it
 * than was allowed by much; what is not says why. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/mem.h"
#include "drivers/kit/decode.h"
#include "drivers/kit/exchange_xml.h"

#define ROOM (256 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
	if (!holds)
		abort();
}

static bool hides(const char *name, size_t len, void *with)
{
	return with && len && *name == *(const char *)with;
}

/* What goes into a dead letter: where nothing hides, the very text; where a name does, no crash. */
static void hide(const char *s, size_t len)
{
	struct buf out = BUF_INIT;

	xml_hide(s, len, hides, NULL, &out);
	need(out.len == len && (!len || memcmp(out.data, s, len) == 0));
	xml_hide(s, len, hides, "a", &out);
	buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct manifest_list lists[] = { { "a", "b" }, { NULL, "c" } };
	static const enum body_format formats[] = { FORMAT_XML, FORMAT_CSV, FORMAT_JSONL,
						    FORMAT_TEXT };
	struct manifest m = { .xml_lists = lists, .n_xml_lists = ARRAY_LEN(lists) };
	struct buf out = BUF_INIT;
	struct json_error bad;
	struct err err = { 0 };
	cJSON *tree = NULL;
	int rc;

	if (size == 0)
		return 0;
	hide((const char *)data + 1, size - 1);
	m.format = formats[data[0] % ARRAY_LEN(formats)];
	rc = decode_answer(&m, (const char *)data + 1, size - 1, ROOM, &out, &err);
	if (rc == 0) {
		/* a line of jsonl may still be no JSON */
		rc = json_parse(buf_str(&out), out.len, 16 * ROOM, &tree, &bad);
		need(rc == 0 || m.format == FORMAT_JSONL);
		cJSON_Delete(tree);
	} else if (rc == -EINVAL) {
		need(err.class == ERR_DATA && err.text[0]);
	} else {
		need(rc == -ENOMEM);
	}
	buf_clear(&out);
	return 0;
}
