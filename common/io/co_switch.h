/* A place in a program to go on from, and going there: a stack and what the ABI keeps across a call.
 * swapcontext(3) does the same, but tells the kernel the signal mask each time (0.2 us), which is the
 * same for all of ours.  co.c alone uses it.  Nothing here waits. */
#ifndef COMMON_IO_CO_SWITCH_H
#define COMMON_IO_CO_SWITCH_H

#include <stddef.h>

#if defined(__x86_64__)
struct co_context {
	void *sp;
};
#else
#include <ucontext.h>
struct co_context {
	ucontext_t context;
};
#endif

/* The next switch to it calls fn on that stack; fn never returns. */
void co_context_make(struct co_context *c, char *stack, size_t bytes, void (*fn)(void));
/* Returns when somebody switches back to `from`. */
void co_context_switch(struct co_context *from, const struct co_context *to);

#endif
