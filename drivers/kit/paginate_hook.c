/* The cursor of the next page by the driver's C. */
#include <errno.h>
#include <string.h>

#include "drivers/kit/paginate_parts.h"

int next_page_asked(const struct driver_hooks *h, const struct hook_page *in, struct buf *out,
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
