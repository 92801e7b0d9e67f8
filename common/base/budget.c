#include "common/base/budget.h"

#include <stddef.h>

int64_t budget_left(const struct budget *b)
{
	return b && b->limit ? b->limit - b->held : INT64_MAX;
}

bool budget_take(struct budget *b, int64_t bytes)
{
	if (bytes > budget_left(b))
		return false;
	if (!b)
		return true;
	b->held += bytes;
	if (b->held > b->peak)
		b->peak = b->held;
	return true;
}

void budget_give(struct budget *b, int64_t bytes)
{
	if (b)
		b->held -= bytes;
}
