/* SPDX-License-Identifier: Apache-2.0 */
/* Quantities of Kubernetes (apimachinery, pkg/api/resource): a decimal number and a suffix, or an
 * exponent. Kept in thousandths, rounded up as the kubelet does. */
#include "podmanifest.h"

#include "auto.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With so many digits, the largest suffix and thousandths, 128 bits are enough. */
enum { DIGITS_MAX = 17, EXPONENT_MAX = 18 };

typedef unsigned __int128 wide;

static int read_digits(const char **s, wide *mantissa, wide *divisor)
{
	int digits = 0, seen = 0;
	bool fraction = false;
	const char *p = *s;
	for (; isdigit((unsigned char)*p) || (*p == '.' && !fraction); p++) {
		if (*p == '.') {
			fraction = true;
			continue;
		}
		seen++;
		digits += digits || *p != '0' || fraction;
		if (digits > DIGITS_MAX)
			return -1;
		*mantissa = *mantissa * 10 + (wide)(*p - '0');
		*divisor *= fraction ? 10 : 1;
	}
	*s = p;
	return seen ? 0 : -1;
}

static int read_exponent(const char *s, wide *factor, wide *divisor)
{
	char *end;
	if ((*s != 'e' && *s != 'E') || !(isdigit((unsigned char)s[1]) || strchr("+-", s[1])))
		return -1;
	long n = strtol(s + 1, &end, 10);
	if (*end || end == s + 1 || labs(n) > EXPONENT_MAX)
		return -1;
	for (long i = 0; i < labs(n); i++) {
		if (n > 0)
			*factor *= 10;
		else
			*divisor *= 10;
	}
	return 0;
}

static int read_suffix(const char *s, wide *factor, wide *divisor)
{
	static const struct {
		const char *name;
		uint64_t factor, divisor;
	} table[] = {
		{"", 1, 1},
		{"n", 1, 1000000000},
		{"u", 1, 1000000},
		{"m", 1, 1000},
		{"k", 1000, 1},
		{"M", 1000000, 1},
		{"G", 1000000000, 1},
		{"T", 1000000000000, 1},
		{"P", 1000000000000000, 1},
		{"E", 1000000000000000000, 1},
		{"Ki", 1ULL << 10, 1},
		{"Mi", 1ULL << 20, 1},
		{"Gi", 1ULL << 30, 1},
		{"Ti", 1ULL << 40, 1},
		{"Pi", 1ULL << 50, 1},
		{"Ei", 1ULL << 60, 1},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (strcmp(s, table[i].name) != 0)
			continue;
		*factor = table[i].factor;
		*divisor *= table[i].divisor;
		return 0;
	}
	return read_exponent(s, factor, divisor);
}

int quantity_parse(const char *s, int64_t *milli)
{
	wide mantissa = 0, factor = 1, divisor = 1;
	s += *s == '+';
	if (read_digits(&s, &mantissa, &divisor) < 0 || read_suffix(s, &factor, &divisor) < 0)
		return -1;
	wide n = (mantissa * factor * 1000 + divisor - 1) / divisor;
	if (n > INT64_MAX)
		return -1;
	*milli = (int64_t)n;
	return 0;
}

int quantity_milli(const json_t *v, int64_t *out)
{
	char text[64];
	if (json_is_string(v))
		return quantity_parse(json_string_value(v), out);
	if (json_is_integer(v))
		snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
	else if (json_is_real(v))
		snprintf(text, sizeof text, "%.15g", json_real_value(v));
	else
		return -1;
	return quantity_parse(text, out);
}

int64_t quantity_whole(int64_t milli)
{
	return milli / 1000 + (milli % 1000 > 0);
}
