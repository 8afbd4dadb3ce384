/* SPDX-License-Identifier: Apache-2.0 */
#include "cap.h"

#include "auto.h"

#include <stdio.h>
#include <strings.h>
#include <sys/prctl.h>

static const char *const names[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};

int cap_number(const char *name)
{
	if (strncasecmp(name, "CAP_", 4) == 0)
		name += 4;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcasecmp(names[i] + 4, name) == 0)
			return (int)i;
	return -1;
}

const char *cap_name(int number)
{
	return number >= 0 && (size_t)number < ARRAY_LEN(names) ? names[number] : NULL;
}

uint64_t cap_bounding(void)
{
	uint64_t set = 0;
	/* The kernel answers EINVAL for capabilities that it does not have. */
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			set |= 1ULL << i;
	return set;
}

json_t *cap_to_json(uint64_t set)
{
	json_t *out = json_array();
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (set >> i & 1)
			json_array_append_new(out, json_string(names[i]));
	return out;
}

int cap_from_json(const json_t *list, const char *what, uint64_t *set, struct err *e)
{
	size_t i;
	const json_t *item;
	*set = 0;
	json_array_foreach (list, i, item) {
		const char *name = json_string_value(item);
		int n = name ? cap_number(name) : -1;
		if (n < 0)
			return err_set(e, ERR_BAD_INPUT, "%s: unknown capability '%.64s'", what,
				       name ? name : "(not a string)");
		*set |= 1ULL << n;
	}
	return 0;
}
