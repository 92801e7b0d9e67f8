/* What an answer may bring and nothing here may ever see: elements of its XML are taken out of the raw body (api.drop). */
#ifndef DRIVERS_KIT_DROP_H
#define DRIVERS_KIT_DROP_H

#include "common/base/buf.h"

/* Takes out elements of these names, with what is in them, at any depth and with any prefix; and comments within.  A body that is
 * cut or broken keeps nothing that stands after such an element was opened and never closed.  One with bytes of zero (UTF-16),
 * whose names cannot be told, is emptied.  Does not wait. */
void drop_elements(const char *const *names, int n, struct buf *body);

#endif
