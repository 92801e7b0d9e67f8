#include "common/io/co_stack.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/memcheck.h>
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(from, to) 0
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#define VALGRIND_MAKE_MEM_DEFINED(p, n) 0
#endif

/* The uppermost part of a stack that keeps its memory between two coroutines. */
#define KEEP_BYTES (size_t)(32 * 1024)
#define PROBE_BYTES (size_t)4096
#define PROBE_STEP_BYTES (size_t)64

static size_t guard_bytes(void)
{
	static size_t page;

	if (page == 0)
		page = (size_t)sysconf(_SC_PAGESIZE);
	return page;
}

char *co_stack_map(unsigned *valgrind_id)
{
	size_t guard = guard_bytes();
	char *p = mmap(NULL, guard + CO_STACK_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	/* The guard splits the mapping in two: vm.max_map_count allows some 32,000 stacks. */
	if (mprotect(p, guard, PROT_NONE) < 0) {
		munmap(p, guard + CO_STACK_BYTES);
		return NULL;
	}
	*valgrind_id = VALGRIND_STACK_REGISTER(p + guard, p + guard + CO_STACK_BYTES);
	return p + guard;
}

void co_stack_unmap(char *stack, unsigned valgrind_id)
{
	size_t guard = guard_bytes();

	VALGRIND_STACK_DEREGISTER(valgrind_id);
#ifdef WITH_ASAN
	__asan_unpoison_memory_region(stack, CO_STACK_BYTES);
#endif
	munmap(stack - guard, guard + CO_STACK_BYTES);
}

void co_stack_begin(char *stack)
{
#ifdef WITH_ASAN
	__asan_unpoison_memory_region(stack, CO_STACK_BYTES);
	/* The leak checker does not know mapped stacks: what only a waiting coroutine holds
	 * would count as lost. */
	__lsan_register_root_region(stack, CO_STACK_BYTES);
#endif
}

/* Whether frames ever reached the page below what is kept: a word in each cache line tells it, since
 * frames lie one beside the other.  A page that was never written reads as the kernel's one zero
 * page, which costs no memory (mincore(2) would cost 1.3 us). */
static bool went_deep(const char *stack)
{
	const uint64_t *word =
		(const uint64_t *)(stack + CO_STACK_BYTES - KEEP_BYTES - PROBE_BYTES);
	uint64_t any = 0;

	(void)VALGRIND_MAKE_MEM_DEFINED(word, PROBE_BYTES);
	for (size_t i = 0; i < PROBE_BYTES; i += PROBE_STEP_BYTES)
		any |= word[i / sizeof(*word)];
	return any != 0;
}

void co_stack_end(char *stack)
{
#ifdef WITH_ASAN
	__asan_unpoison_memory_region(stack, CO_STACK_BYTES);
	__lsan_unregister_root_region(stack, CO_STACK_BYTES);
#endif
	if (went_deep(stack))
		madvise(stack, CO_STACK_BYTES - KEEP_BYTES, MADV_DONTNEED);
}

void co_switch_begin(void **fake, const void *stack, size_t bytes)
{
#ifdef WITH_ASAN
	__sanitizer_start_switch_fiber(fake, stack, bytes);
#endif
}

void co_switch_end(void *fake, const void **old_stack, size_t *old_bytes)
{
#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(fake, old_stack, old_bytes);
#endif
}
