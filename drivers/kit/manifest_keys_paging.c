/* Format 1 as tables: how a list is read page by page (see manifest_keys.c). */
#include <stddef.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"

#define DAY_MS INT64_C(86400000)
#define FIRST_MAX 1000000

#define AT(member) .at = offsetof(struct manifest_paging, member)

static const struct key_word kind_words[] = {
	{ "none", PAGING_NONE },     { "offset", PAGING_OFFSET },       { "page", PAGING_PAGE },
	{ "cursor", PAGING_CURSOR }, { "next_url", PAGING_NEXT_URL },   { "link", PAGING_LINK },
	{ "keyset", PAGING_KEYSET }, { "ack_queue", PAGING_ACK_QUEUE }, { NULL, 0 },
};
static const struct key_word place_words[] = { { "query", PAGING_IN_QUERY },
					       { "body", PAGING_IN_BODY },
					       { "path", PAGING_IN_PATH },
					       { NULL, PAGING_IN_QUERY } };

static const struct manifest_key ack_keys[] = {
	{ "post", KEY_TEXT, AT(ack.post) },
	{ "put", KEY_TEXT, AT(ack.put) },
	{ "json", KEY_JSON, AT(ack.json) },
	{ "id", KEY_PATH, AT(ack.id) },
};
static bool ack_present(const void *base)
{
	const struct manifest_paging *p = base;

	return p->ack.post || p->ack.put;
}
static const struct key_table ack_table = { TABLE(ack_keys), .present = ack_present };

/* A number of a page, or what stands for the cursor of the first one. */
static void read_first(struct manifest_reader *r, const cJSON *node, void *base)
{
	struct manifest_paging *p = base;

	if (cJSON_IsString(node))
		p->first_cursor = reader_text(r, node, 0);
	else if (!json_int(node, "@", &p->first) || p->first < 0 || p->first > FIRST_MAX)
		reader_problem(r, "expected 0 to %d, or the text of the first cursor", FIRST_MAX);
}

static bool print_first(const void *base, struct buf *out)
{
	const struct manifest_paging *p = base;

	if (p->first_cursor)
		json_quote(out, p->first_cursor, strlen(p->first_cursor));
	else
		buf_putint(out, p->first);
	return true;
}

static const struct manifest_key paging_keys[] = {
	{ "kind", KEY_WORD, AT(kind), .flags = KEY_REQUIRED, .words = kind_words },
	{ "in", KEY_WORD, AT(in), .fallback = "\"query\"", .words = place_words },
	{ "limit_param", KEY_TEXT, AT(limit_param) },
	{ "offset_param", KEY_TEXT, AT(offset_param) },
	{ "page_param", KEY_TEXT, AT(page_param) },
	{ "cursor_param", KEY_TEXT, AT(cursor_param) },
	{ "cursor", KEY_PATH, AT(cursor), .flags = KEY_ANSWER },
	{ "next", KEY_PATH, AT(next), .flags = KEY_ANSWER },
	{ "param", KEY_TEXT, AT(param) },
	{ "key", KEY_PATH, AT(key) },
	{ "total", KEY_PATH, AT(total), .flags = KEY_ANSWER },
	{ "first", KEY_OWN, .fallback = "1", .read = read_first, .print = print_first },
	{ "size", KEY_INT, AT(size), .fallback = "100", .min = 1, .max = 100000 },
	{ "max_pages", KEY_INT, AT(max_pages), .fallback = "10000", .min = 1, .max = 100000000 },
	{ "rescan_overlap", KEY_INT, AT(rescan_overlap), .max = 100000 },
	{ "expires", KEY_DURATION, AT(expires_ms), .max = 31 * DAY_MS },
	{ "ack", KEY_OBJECT, .of = &ack_table },
	{ "stop", KEY_OWN, .read = read_stops, .print = print_stops,
	  .schema = "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}" },
	{ "every", KEY_DURATION, AT(every_ms), .max = DAY_MS },
};

static void add_stop(struct manifest_paging *p, enum stop_kind kind, const char *path)
{
	p->stops[p->n_stops++] = (struct manifest_stop){ kind, path };
}

static void paging_finish(struct manifest_reader *r, void *base)
{
	struct manifest_paging *p = base;

	if (p->n_stops)
		return;
	switch (p->kind) {
	case PAGING_NONE:
		return;
	case PAGING_CURSOR:
	case PAGING_NEXT_URL:
	case PAGING_LINK:
		add_stop(p, STOP_NO_CURSOR, NULL);
		return;
	case PAGING_ACK_QUEUE:
		add_stop(p, STOP_EMPTY, NULL);
		return;
	case PAGING_OFFSET:
	case PAGING_PAGE:
	case PAGING_KEYSET:
		add_stop(p, STOP_SHORT_PAGE, NULL);
		if (p->total)
			add_stop(p, STOP_TOTAL, p->total);
	}
}
const struct key_table manifest_pagination = { TABLE(paging_keys), .finish = paging_finish };
