/* SPDX-License-Identifier: Apache-2.0 */
/* The program of a pod's sandbox container: it reaps whatever is reparented to it, and otherwise
 * waits for SIGKILL. Nothing is in its root but itself, and its memory is the pod's overhead: so it
 * is linked with nothing, where the compiler knows how to call the kernel. */
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { SIGSET_LEN = 8, BLOCK = 0 };

#if defined(__x86_64__)
static long call4(long n, long a, long b, long c, long d)
{
	long r;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return r;
}
#define START void _start(void)
#elif defined(__aarch64__)
static long call4(long n, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
#define START void _start(void)
#else
#include <unistd.h>
#define call4 syscall
#define START int main(void)
#endif

START;
START
{
	const uint64_t all = ~(uint64_t)0;
	/* Blocked, a signal is taken by the wait below; PID 1 must not die of one. */
	call4(SYS_rt_sigprocmask, BLOCK, (long)&all, 0, SIGSET_LEN);
	for (;;) {
		while (call4(SYS_wait4, -1, 0, WNOHANG, 0) > 0)
			;
		call4(SYS_rt_sigtimedwait, (long)&all, 0, 0, SIGSET_LEN);
	}
}
