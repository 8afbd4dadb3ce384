/* SPDX-License-Identifier: Apache-2.0 */
#include "prompt.h"

#include "log.h"

#include <errno.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NICENESS = -10, TURN_NS = 200000 };

void be_prompt(void)
{
	struct sched_attr a = {0};
	if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) < 0 || a.sched_policy != SCHED_NORMAL)
		return;
	if (a.sched_nice == 0)
		a.sched_nice = NICENESS;
	a.sched_runtime = TURN_NS;
	a.sched_flags = SCHED_FLAG_RESET_ON_FORK;
	if (syscall(SYS_sched_setattr, 0, &a, 0) < 0)
		log_debug("scheduling stays as it is: %s", strerrordesc_np(errno));
}
