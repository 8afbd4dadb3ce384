/* SPDX-License-Identifier: Apache-2.0 */
#include "rights.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NOBODY = 65534 };

int rights_give_up(struct err *e)
{
	static const struct rlimit none = {0, 0};
	/* Leaving uid 0 drops all capabilities, and shuts out others of that uid, too: what has
	 * changed its identity cannot be traced by them. */
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_NOFILE, &none) < 0 ||
	    setrlimit(RLIMIT_NPROC, &none) < 0)
		return err_sys(e, "give up privileges");
	return 0;
}
