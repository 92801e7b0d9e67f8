#include "worker/busy.h"

#include "common/base/id.h"

#define AWAY_MIN_MS 2000
#define AWAY_MAX_MS 30000
#define WINDOW_MS 1000
#define MANY 100 /* refused in a window: they are to stay away for twice as long */

static void begin_window(struct busy *b, int64_t now_ms)
{
	b->since_ms = now_ms;
	b->refused = 0;
}

int64_t busy_refused_ms(struct busy *b, int64_t now_ms)
{
	int64_t passed_ms = now_ms - b->since_ms;

	if (!b->away_ms || passed_ms >= AWAY_MAX_MS)
		b->away_ms = AWAY_MIN_MS;
	else if (passed_ms >= WINDOW_MS && b->refused < MANY / 4)
		b->away_ms /= 2;
	if (passed_ms >= WINDOW_MS)
		begin_window(b, now_ms);
	if (++b->refused >= MANY) {
		b->away_ms *= 2;
		begin_window(b, now_ms);
	}
	if (b->away_ms < AWAY_MIN_MS)
		b->away_ms = AWAY_MIN_MS;
	if (b->away_ms > AWAY_MAX_MS)
		b->away_ms = AWAY_MAX_MS;
	return b->away_ms / 2 + random_below((unsigned)b->away_ms / 2) + 1;
}
