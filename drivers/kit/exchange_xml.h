/* Secrets in XML bodies of exchanges: the text of elements and the values of attributes whose name is a secret's become ***.
 * Pure. */
#ifndef DRIVERS_KIT_EXCHANGE_XML_H
#define DRIVERS_KIT_EXCHANGE_XML_H

#include <stdbool.h>

#include "common/base/buf.h"

typedef bool (*xml_hides_fn)(const char *name, size_t len, void *arg); /* without its prefix */

bool looks_like_xml(const char *s, size_t len);
/* Appends the text; all that stands in an element that hides, at any depth, is hidden too. */
void xml_hide(const char *s, size_t len, xml_hides_fn hides, void *arg, struct buf *out);

#endif
