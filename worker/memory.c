#include "worker/memory.h"

#include "common/base/rss.h"
#include "common/io/loop.h"

#define FRESH_MS 100

int64_t memory_resident(void)
{
	static int64_t bytes, read_ms;
	int64_t now = loop_now_ms();

	if (!read_ms || now - read_ms >= FRESH_MS) {
		bytes = rss_bytes();
		read_ms = now;
	}
	return bytes;
}
