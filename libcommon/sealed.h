/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SEALED_H
#define CRISP_SEALED_H
/* Programs run from a sealed copy in memory.
 *
 * A container's process can reach the runtime's own program by /proc/PID/exe (CVE-2019-5736). crun
 * therefore looks whether it runs from a memfd that nobody can write to, by its seals (F_GET_SEALS of
 * /proc/self/exe), and when it does not, mounts or copies itself and executes that: every call of
 * it starts two programs. Given the sealed copy at once it starts one. runc does this only for its
 * init, and is twenty times larger: no copy of it is worth its time. */

/* A descriptor of the copy, for proc_spec.exe; -1 when there is none to be had or the program would
 * gain nothing, which is no error: it is then started from its file. */
int sealed_copy(const char *path);
#endif
