/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_SANITIZER_H
#define CRISP_SANITIZER_H
/* SANITIZED: 1 in a build with the address sanitizer, which works where an ordinary build need not or must not. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif
#endif
