/* SPDX-License-Identifier: Apache-2.0 */
#include "confine.h"

#include "auto.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { NOBODY = 65534, FILES = 8192 };

/* Two descriptors for each connection would soon reach the usual soft limit. */
static void raise_files(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur >= FILES)
		return;
	r.rlim_cur = r.rlim_max < FILES ? r.rlim_max : FILES;
	setrlimit(RLIMIT_NOFILE, &r);
}

int confine_to_network(const char *netns, struct err *e)
{
	AUTO_CLOSE int fd = *netns ? open(netns, O_RDONLY | O_CLOEXEC) : -1;
	if (*netns && (fd < 0 || setns(fd, CLONE_NEWNET) < 0))
		return err_sys(e, "network namespace %s", netns);
	raise_files();
	/* Leaving uid 0 drops all capabilities. */
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, "give up privileges");
	return 0;
}
