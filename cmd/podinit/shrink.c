/* SPDX-License-Identifier: Apache-2.0 */
#include "shrink.h"

#ifndef __has_feature /* clang's */
#define __has_feature(x) 0
#endif

#if (defined(__x86_64__) || defined(__aarch64__)) && __has_include(<sys/rseq.h>) && \
	!defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UNREGISTER = 1, RSEQ_LEN = 32, SIGSET_LEN = 8, STACK_PAGES = 2 };

/* Lives on the stack, which stays. */
struct rest {
	uintptr_t code, page, below_stack;
	uint64_t all_signals;
};

__attribute__((always_inline)) static inline long call4(long n, long a, long b, long c, long d)
{
#ifdef __x86_64__
	long r;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return r;
#else
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
#endif
}

static char *thread_pointer(void)
{
#ifdef __x86_64__
	char *tp;
	__asm__("mov %%fs:0, %0" : "=r"(tp));
	return tp;
#else
	return __builtin_thread_pointer();
#endif
}

/* Copied to a page of its own: it may refer to nothing but its argument. */
__attribute__((section("podinit_reap"), noinline, used, no_sanitize("undefined"))) static void
reap(const struct rest *r)
{
	uintptr_t above = r->code + r->page;
	call4(SYS_munmap, 0, (long)r->code, 0, 0);
	call4(SYS_munmap, (long)above, (long)(r->below_stack - above), 0, 0);
	for (;;) {
		while (call4(SYS_wait4, -1, 0, WNOHANG, 0) > 0)
			;
		call4(SYS_rt_sigtimedwait, (long)&r->all_signals, 0, 0, SIGSET_LEN);
	}
}

/* The section's ends, from the linker. */
extern const char __start_podinit_reap[], __stop_podinit_reap[];

void shrink_and_reap(void)
{
	size_t size = (size_t)(__stop_podinit_reap - __start_podinit_reap);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *code = size <= page ? mmap(NULL, page, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
				  : MAP_FAILED;
	if (code == MAP_FAILED)
		return;
	memcpy(code, __start_podinit_reap, size);
	__builtin___clear_cache((char *)code, (char *)code + size);
	/* The kernel writes there whenever we are scheduled. */
	char *area = thread_pointer() + __rseq_offset;
	if (mprotect(code, page, PROT_READ | PROT_EXEC) < 0 ||
	    (__rseq_size && syscall(SYS_rseq, area, RSEQ_LEN, UNREGISTER, RSEQ_SIG) < 0)) {
		munmap(code, page);
		return;
	}
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)(page - 1);
	struct rest r = {(uintptr_t)code, page, frame - STACK_PAGES * page, ~(uint64_t)0};
	size_t offset = (size_t)((const char *)reap - __start_podinit_reap);
	((void (*)(const struct rest *))(r.code + offset))(&r);
}
#else
void shrink_and_reap(void)
{
}
#endif
