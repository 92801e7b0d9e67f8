/* Random identifiers: 26 characters, Crockford base32, the first ten from real time in ms, so that
 * they sort by age (the ULID layout).  Nothing here waits (getrandom after boot does not block). */
#ifndef COMMON_BASE_ID_H
#define COMMON_BASE_ID_H

#include <stddef.h>

#define ID_LEN 26
void id_new(char out[ID_LEN + 1]);
void random_bytes(void *out, size_t n);
unsigned random_below(unsigned n); /* uniform in 0..n-1; n > 0 */

#endif
