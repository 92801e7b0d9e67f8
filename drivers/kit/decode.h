/* An answer in the partner's own format (api.format) -> JSON text, so that paths address all formats alike.
 *
 * jsonl  a list of the lines' values.
 * csv    a list of objects: the first line names the columns (separated by ',' ';' or a tab, whichever comes first
 *        there outside quotes), every value is text; an empty field is null, a quoted empty one is "".
 * text   one text.
 * xml    an object with the root element under its name.  An element is its text; with attributes or elements inside it is an
 *        object: attributes as "-name", elements by name, text beside them as "#text".  Several of one name are a list,
 *        and so is one (or none) of what the manifest's paths say is a list (manifest.xml_lists).  xsi:nil is null;
 *        namespaces are dropped, with their prefixes.  A document type is refused: no entities, nothing from elsewhere.
 * Nothing here waits. */
#ifndef DRIVERS_KIT_DECODE_H
#define DRIVERS_KIT_DECODE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "drivers/kit/manifest.h"

/* Appends JSON text of at most max_bytes, and takes no more memory than that beside it.  0 | -EINVAL with err: it is not of that
 * format | -ENOMEM: it is too large. */
int decode_answer(const struct manifest *m, const char *body, size_t len, size_t max_bytes,
		  struct buf *out, struct err *err) __attribute__((warn_unused_result));
/* What an Accept header says of it. */
const char *decode_accepts(enum body_format f);

int decode_jsonl(const char *body, size_t len, size_t max_bytes, struct buf *out, struct err *err)
	__attribute__((warn_unused_result));
int decode_csv(const char *body, size_t len, size_t max_bytes, struct buf *out, struct err *err)
	__attribute__((warn_unused_result));
int decode_xml(const struct manifest_list *lists, int n_lists, const char *body, size_t len,
	       size_t max_bytes, struct buf *out, struct err *err)
	__attribute__((warn_unused_result));

#endif
