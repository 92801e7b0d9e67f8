/* Stacks for coroutines: 256 KiB of address space each (only what is touched takes memory) below
 * which a guard page turns an overflow into a SIGSEGV.  Finished ones are kept and used again;
 * one that went deep gives its depths back.  co.c alone uses it.  Nothing here waits. */
#ifndef COMMON_IO_CO_STACK_H
#define COMMON_IO_CO_STACK_H

#include <stddef.h>

#define CO_STACK_BYTES (256 * 1024)

char *co_stack_map(
	unsigned *valgrind_id); /* lowest usable byte; NULL when the system has no more mappings */
void co_stack_unmap(char *stack, unsigned valgrind_id);
void co_stack_begin(char *stack); /* a coroutine moves in … */
void co_stack_end(char *stack);   /* … and out */

/* AddressSanitizer must hear of every switch of stacks; empty
 * without it. fake: where the stack that is left keeps its shadow; NULL when it is left for
 * good. */
void co_switch_begin(void **fake, const void *stack, size_t bytes);
void co_switch_end(void *fake, const void **old_stack, size_t *old_bytes);

#endif
