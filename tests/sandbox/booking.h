/* The tokens of Booking.com's machine accounts: JSON Web Tokens, signed with a key of this process alone.  Nothing here waits. */
#ifndef TESTS_SANDBOX_BOOKING_H
#define TESTS_SANDBOX_BOOKING_H

#include "tests/sandbox/exchange.h"

void booking_jwt(int account, int64_t now_us, int64_t expires_us, struct buf *out);
/* The account's number; 0: not one of ours, or over. */
int booking_jwt_account(const char *token, int64_t now_us);

#endif
