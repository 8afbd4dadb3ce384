/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_UNPACK_H
#define OCIPULL_UNPACK_H
/* The confined child that turns a layer's bytes into a directory. ocipull starts itself anew as
 *
 *	ocipull UNPACK_ARG layer|files    stdin: the bytes, stdout: the report,
 *	                                  working directory: the target
 *
 * so that nothing of the parent's memory (credentials) is in it. It makes the directory its root,
 * has no network, few capabilities and few system calls (confine.h), inflates (inflate.h), hashes
 * and unpacks (untar.h).
 *
 * The report is a row of NUL-terminated records, a letter each and then text:
 *
 *	i PATH        a directory that the archive does not name but has things in
 *	o PATH        a directory that hides what is below it: becomes opaque
 *	e KIND TEXT   failed; the last record
 *	d HEX BYTES   done: SHA-256 and size of the uncompressed stream; the last record
 */
#define UNPACK_ARG "--unpack-child"

enum { UNPACK_REPORT_MAX = 16 << 20 };

int unpack_main(const char *mode);
#endif
