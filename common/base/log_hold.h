/* For who logs thousands of lines a second: each is a write(2), and a file on a busy disk may hold one up for a tenth of a second.
 * Held lines go out together, in their order: when they are let go, with the next warning or error, at 32 KiB, at exit.  Whoever is
 * killed loses what it holds, so nothing is held for longer than a turn of the loop. */
#ifndef COMMON_BASE_LOG_HOLD_H
#define COMMON_BASE_LOG_HOLD_H

void log_hold(void);
void log_release(void);

#endif
