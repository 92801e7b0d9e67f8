/* Card numbers, however they are written: 13 to 19 digits of any script that pass Luhn's check, in one piece or in groups with blanks, hyphens,
 * dots, underscores, slashes or bars between them, escaped as JSON or URLs do or not.  They may not come in (O2), so what is found is
 * refused, and masked where it must be shown.
 *
 * Not taken for one: a part of a longer number; digits in a word of hex digits (a hash), behind letters as an IBAN's are; a phone
 * number behind a plus; a decimal number of up to three digits before its dot (a coordinate); 13 digits that begin with 1 (ms since 1970);
 * a job's id.  One that was masked (13 stars and more) still is one. */
#ifndef COMMON_BASE_CARD_H
#define COMMON_BASE_CARD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/json.h"

/* The first one at or after *at; moves *at to its begin and says its length in bytes. */
bool card_find(const char *s, size_t len, size_t *at, size_t *n);
bool card_is_in(const char *s, size_t len);
/* Anywhere in it: texts, numbers, names. */
bool card_is_in_json(const cJSON *v);
/* A digit becomes a star, however many bytes it had. */
void card_mask(struct buf *b);

#endif
