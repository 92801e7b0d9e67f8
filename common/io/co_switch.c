#include "common/io/co_switch.h"

#include <stdint.h>

#if defined(__x86_64__)

/* Pushed by the one that leaves, popped by the one that comes: rbp rbx r12 to r15, and the rounding
 * modes of SSE and x87, which the ABI counts among what a call keeps. */
__asm__(".text\n"
	".p2align 4\n"
	".globl co_context_switch\n"
	".type co_context_switch, @function\n"
	"co_context_switch:\n"
	"	.cfi_startproc\n"
	"	pushq %rbp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %rbp, 0\n"
	"	pushq %rbx\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %rbx, 0\n"
	"	pushq %r12\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %r12, 0\n"
	"	pushq %r13\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %r13, 0\n"
	"	pushq %r14\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %r14, 0\n"
	"	pushq %r15\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %r15, 0\n"
	"	subq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	stmxcsr (%rsp)\n"
	"	fnstcw 4(%rsp)\n"
	"	movq %rsp, (%rdi)\n"
	"	movq (%rsi), %rsp\n"
	"	ldmxcsr (%rsp)\n"
	"	fldcw 4(%rsp)\n"
	"	addq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %r15\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %r14\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %r13\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %r12\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rbx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rbp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size co_context_switch, . - co_context_switch\n");

/* What co_context_switch leaves on a stack, from the lowest address. */
struct frame {
	uint32_t mxcsr;
	uint16_t x87, unused;
	uint64_t r15, r14, r13, r12, rbx, rbp;
	void (*resume)(void);
	uint64_t no_caller; /* where fn would return to: ends a backtrace */
};

void co_context_make(struct co_context *c, char *stack, size_t bytes, void (*fn)(void))
{
	/* A multiple of 16, less 8: where a call would have left the address to return to. */
	uintptr_t entry = (((uintptr_t)stack + bytes) & ~(uintptr_t)15) - 8;
	struct frame *f = (struct frame *)(entry - offsetof(struct frame, no_caller));

	*f = (struct frame){ .resume = fn };
	__asm__("stmxcsr %0" : "=m"(f->mxcsr));
	__asm__("fnstcw %0" : "=m"(f->x87));
	c->sp = f;
}

#else

void co_context_make(struct co_context *c, char *stack, size_t bytes, void (*fn)(void))
{
	getcontext(&c->context);
	c->context.uc_stack.ss_sp = stack;
	c->context.uc_stack.ss_size = bytes;
	c->context.uc_link = NULL;
	makecontext(&c->context, fn, 0);
}

void co_context_switch(struct co_context *from, const struct co_context *to)
{
	swapcontext(&from->context, &to->context);
}

#endif
