/* Finding secrets in text.  Twenty thousand integrations have as many tokens, each in a dozen
 * forms, and every log line and recorded exchange is searched for all of them: each form hangs in
 * a table by a hash of its last bytes (the first ones are alike in too many: "eyJhbGci",
 * "sk_live_").  Before it stands a filter of bits, small enough for the processor's cache, that
 * tells most tails of text to be none. */
#include "common/base/redact.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/secret.h"

#define TAIL_BYTES 6 /* also the shortest value that is registered */
#define TABLE_MIN 1024
#define FILTER_BITS_PER_SLOT 8 /* and a slot is four times as much as a pattern */

struct pattern {
	struct pattern *next;
	size_t len;
	unsigned refs;   /* values that have it as one of their forms */
	unsigned values; /* times it was registered as a value itself */
	char bytes[];
};

static struct pattern **table; /* NULL until the first registration */
static uint64_t *filter;
static size_t table_size, pattern_count;
static size_t stale; /* patterns that are gone and have still their bit in the filter */

/* Two loads that overlap: six bytes at once cost a trip through memory. */
static inline uint64_t hash_of(const char *tail)
{
	uint32_t first, last;

	memcpy(&first, tail, 4);
	memcpy(&last, tail + TAIL_BYTES - 4, 4);
	return ((uint64_t)first << 32 | last) * 0x9e3779b97f4a7c15ull >> 24;
}

static inline size_t slot_of(uint64_t hash)
{
	return hash / FILTER_BITS_PER_SLOT & (table_size - 1);
}

static inline size_t bit_of(uint64_t hash)
{
	return hash & (table_size * FILTER_BITS_PER_SLOT - 1);
}

static uint64_t hash_of_pattern(const char *bytes, size_t len)
{
	return hash_of(bytes + len - TAIL_BYTES);
}

static void pattern_push(struct pattern *p)
{
	uint64_t hash = hash_of_pattern(p->bytes, p->len);
	size_t slot = slot_of(hash), bit = bit_of(hash);

	p->next = table[slot];
	table[slot] = p;
	filter[bit / 64] |= 1ull << bit % 64;
}

/* A larger table, or the same size with a fresh filter. */
static void table_rebuild(size_t size)
{
	struct pattern **old = table, *p, *next;
	size_t old_size = table_size;

	table_size = size;
	table = mem_zalloc(size * sizeof(*table));
	free(filter);
	filter = mem_zalloc(size * FILTER_BITS_PER_SLOT / 8);
	stale = 0;
	for (size_t i = 0; i < old_size; i++)
		for (p = old[i]; p; p = next) {
			next = p->next;
			pattern_push(p);
		}
	free(old);
}

static struct pattern **pattern_find(const char *bytes, size_t len)
{
	struct pattern **at;

	if (!table)
		return NULL;
	for (at = &table[slot_of(hash_of_pattern(bytes, len))]; *at; at = &(*at)->next)
		if ((*at)->len == len && memcmp((*at)->bytes, bytes, len) == 0)
			return at;
	return NULL;
}

static struct pattern *pattern_ref(const char *bytes, size_t len)
{
	struct pattern **at = pattern_find(bytes, len), *p;

	if (at) {
		(*at)->refs++;
		return *at;
	}
	if ((pattern_count + 1) * 4 > table_size)
		table_rebuild(table_size ? table_size * 4 : TABLE_MIN);
	else if (stale > table_size / 4)
		table_rebuild(table_size);
	p = mem_zalloc(sizeof(*p) + len + 1);
	memcpy(p->bytes, bytes, len);
	p->len = len;
	p->refs = 1;
	pattern_push(p);
	pattern_count++;
	return p;
}

static void pattern_unref(const char *bytes, size_t len)
{
	struct pattern **at = pattern_find(bytes, len), *p;

	if (!at || --(*at)->refs > 0)
		return;
	p = *at;
	*at = p->next;
	stale++;
	secret_zero(p->bytes, p->len);
	free(p);
	pattern_count--;
}

static void form_apply(struct buf *form, bool add)
{
	if (form->len >= TAIL_BYTES && add)
		pattern_ref(form->data, form->len);
	else if (form->len >= TAIL_BYTES)
		pattern_unref(form->data, form->len);
	secret_zero(form->data, form->len);
	buf_reset(form);
}

/* Part of an encoding, in the standard alphabet and, where it differs, the one of URLs. */
static void base64_form(const char *text, size_t len, struct buf *form, bool add)
{
	bool differs = false;

	buf_append(form, text, len);
	form_apply(form, add);
	for (size_t i = 0; i < len; i++) {
		char c = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];

		differs |= c != text[i];
		buf_putc(form, c);
	}
	if (differs)
		form_apply(form, add);
	buf_reset(form);
}

/* The value in the middle of something encoded ("user:password") begins at any of three places of
 * a base64 quantum; only the characters it fills alone are the same every time, and the one after
 * them where the text ends there. */
static void base64_forms(const char *bytes, size_t len, struct buf *form, bool add)
{
	for (size_t shift = 0; shift < 3; shift++) {
		struct buf padded = BUF_INIT, text = BUF_INIT;
		size_t from = (shift * 8 + 5) / 6, bits = (shift + len) * 8;

		buf_reserve(&padded, shift + len);
		buf_append(&padded, "\0\0", shift);
		buf_append(&padded, bytes, len);
		base64_encode(&text, padded.data, padded.len);
		base64_form(text.data + from, bits / 6 - from, form, add);
		if (bits % 6)
			base64_form(text.data + from, bits / 6 + 1 - from, form, add);
		secret_free_buf(&padded);
		secret_free_buf(&text);
	}
}

static bool is_unreserved(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

static void percent_forms(const char *bytes, size_t len, struct buf *form, bool add)
{
	static const char *const digits[] = { "0123456789ABCDEF", "0123456789abcdef" };

	for (int lower = 0; lower < 2; lower++) {
		bool changed = false;

		for (size_t i = 0; i < len; i++) {
			unsigned char c = (unsigned char)bytes[i];

			if (is_unreserved(c)) {
				buf_putc(form, (char)c);
				continue;
			}
			buf_putc(form, '%');
			buf_putc(form, digits[lower][c >> 4]);
			buf_putc(form, digits[lower][c & 15]);
			changed = true;
		}
		if (changed)
			form_apply(form, add);
		buf_reset(form);
	}
}

/* As it stands inside a JSON string, with and without PHP's habit of writing \/ for /. */
static void json_forms(const char *bytes, size_t len, struct buf *form, bool add)
{
	struct buf quoted = BUF_INIT;
	bool slash = memchr(bytes, '/', len) != NULL;

	json_quote(&quoted, bytes, len);
	if (quoted.len - 2 != len || memcmp(quoted.data + 1, bytes, len) != 0) {
		buf_append(form, quoted.data + 1, quoted.len - 2);
		form_apply(form, add);
	}
	for (size_t i = 1; slash && i < quoted.len - 1; i++) {
		if (quoted.data[i] == '/')
			buf_putc(form, '\\');
		buf_putc(form, quoted.data[i]);
	}
	if (slash)
		form_apply(form, add);
	secret_free_buf(&quoted);
}

static void forms_apply(const char *bytes, size_t len, bool add)
{
	struct buf form = BUF_INIT;

	buf_reserve(&form, len * 6 + 16); /* never moved: no copies are left behind */
	base64_forms(bytes, len, &form, add);
	percent_forms(bytes, len, &form, add);
	json_forms(bytes, len, &form, add);
	secret_free_buf(&form);
}

void redact_register(const char *bytes, size_t len)
{
	struct pattern *p;

	if (len < TAIL_BYTES)
		return;
	p = pattern_ref(bytes, len);
	if (p->values++ == 0)
		forms_apply(bytes, len, true);
}

void redact_unregister(const char *bytes, size_t len)
{
	struct pattern **at = len < TAIL_BYTES ? NULL : pattern_find(bytes, len);

	if (!at || (*at)->values == 0)
		return;
	if (--(*at)->values == 0)
		forms_apply(bytes, len, false);
	pattern_unref(bytes, len);
}

static inline bool may_end_at(const char *tail)
{
	size_t bit = bit_of(hash_of(tail));

	return filter[bit / 64] >> bit % 64 & 1;
}

/* Length of the longest pattern of which the last bytes are at s[at], 0 if none. */
static size_t match_ending(const char *s, size_t at)
{
	size_t end = at + TAIL_BYTES, longest = 0;

	for (const struct pattern *p = table[slot_of(hash_of(s + at))]; p; p = p->next)
		if (p->len > longest && p->len <= end &&
		    memcmp(p->bytes, s + end - p->len, p->len) == 0)
			longest = p->len;
	return longest;
}

bool secret_in(const char *s, size_t len)
{
	if (pattern_count == 0)
		return false;
	for (size_t i = 0; i + TAIL_BYTES <= len; i++)
		if (may_end_at(s + i) && match_ending(s, i))
			return true;
	return false;
}

/* Matches that overlap or touch become one ***: of two that overlap, neither end may show. */
void secret_redact(struct buf *b)
{
	size_t out = 0;
	char *hidden;

	if (!secret_in(b->data, b->len))
		return;
	hidden = mem_zalloc(b->len + 1);
	for (size_t i = 0; i + TAIL_BYTES <= b->len; i++) {
		size_t n = may_end_at(b->data + i) ? match_ending(b->data, i) : 0;

		memset(hidden + i + TAIL_BYTES - n, 1, n);
	}
	for (size_t i = 0; i < b->len; i++) {
		if (!hidden[i]) {
			b->data[out++] = b->data[i];
		} else if (!hidden[i + 1]) { /* its end: at least three bytes behind `out` */
			memcpy(b->data + out, "***", 3);
			out += 3;
		}
	}
	secret_zero(b->data + out, b->len - out);
	b->len = out;
	free(hidden);
}
