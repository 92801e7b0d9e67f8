/* The cursor of the next page by the driver's C. */
#include <errno.h>
#include <string.h>

#include "drivers/kit/paginate_parts.h"

static int ask(const struct driver_hooks *h, const struct hook_page *in, struct buf *out,
	       struct err *err)
{
	struct arena *a = arena_new();
	const char *cursor = NULL;
	char *next = NULL;
	struct err why = { 0 };
	int rc = h->next_page(in, a, &cursor, &why);

	if (rc == 0 && cursor)
		next = arena_strdup(a, cursor); /* it may point into out */
	buf_reset(out);
	if (next)
		buf_puts(out, next);
	arena_free(a);
	return rc < 0 ? err_set(err, -EBADMSG, ERR_DATA, "next_page", "%s",
				why.text[0] ? why.text : "the hook refused the page")
		      : 0;
}

int next_page_cursor(const struct pager *p, const struct page *page, struct buf *out,
		     struct err *err)
{
	const struct driver_hooks *h = p->c->driver->hooks;
	bool found = answer_text(&page->result, p->p->cursor, out);
	const struct hook_page in = { .collection = p->coll,
				      .answer = { &page->result.http, page->result.json },
				      .cursor = p->cursor,
				      .found = found ? out->data : NULL,
				      .number = p->number + 1,
				      .records = page->n };

	return h && h->next_page ? ask(h, &in, out, err) : 0;
}
