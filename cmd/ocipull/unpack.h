/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_UNPACK_H
#define OCIPULL_UNPACK_H
/* The confined child that turns a layer's bytes into a directory. ocipull starts itself anew as
 *
 *	ocipull UNPACK_ARG files MAX-BYTES MAX-ENTRIES MAX-RATIO
 *	ocipull UNPACK_ARG layer RECIPE-FD MAX-BYTES MAX-ENTRIES MAX-RATIO
 *
 * with the bytes as stdin, the report as stdout, and the target as its working directory,
 *
 * so that nothing of the parent's memory (credentials) is in it. It makes the directory its root,
 * has no network, few capabilities and few system calls (confine.h), inflates (inflate.h), hashes
 * and unpacks (untar.h).
 *
 * The report is a row of NUL-terminated records, a letter each and then text:
 *
 *	i PATH        a directory that the archive does not name but has things in
 *	o PATH        a directory that hides what is below it: becomes opaque
 *	w PATH        a directory that holds whiteouts
 *	r             the archive names the root
 *	l PATH        a name of a file that a layer below has: empty, mode 0 (untar.h); then
 *	m PATH        which file that is
 *	e KIND TEXT   failed; the last record
 *	d HEX BYTES INODES USAGE
 *	              done: SHA-256 and size of the uncompressed stream, what was made of it, and
 *	              the bytes that this takes on disk; the last record
 */
#define UNPACK_ARG "--unpack-child"

enum { UNPACK_REPORT_MAX = 16 << 20 };

/* argv: from the mode on. */
int unpack_main(int argc, char **argv);
#endif
