/* Money without floats: decimal digits in, minor units out. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/map.h"
#include "drivers/kit/map_value.h"

#define DIGITS_MAX 64 /* more than any amount, less than any trouble */

/* ISO 4217 (2024), the currencies in use, by their minor digits; bonds, metals and testing codes are no money
 * that a partner charges. */
static const char no_digits[] =
	"BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
static const char three_digits[] = "BHD IQD JOD KWD LYD OMR TND";
static const char four_digits[] = "CLF UYW";
static const char two_digits[] =
	"AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD "
	"CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD "
	"GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL "
	"MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN "
	"QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY "
	"TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG ZWL";

/* Three letters never match across the blank between two codes. */
static bool in_list(const char *list, const char code[4])
{
	return strstr(list, code) != NULL;
}

static int digits_of(const char code[4])
{
	if (in_list(two_digits, code))
		return 2;
	if (in_list(no_digits, code))
		return 0;
	if (in_list(three_digits, code))
		return 3;
	return in_list(four_digits, code) ? 4 : -1;
}

int currency_digits(const char *code, char upper[4])
{
	static char last[4];
	static int digits = -1;
	char c[4] = "";

	if (!code || strlen(code) != 3)
		return -1;
	for (int i = 0; i < 3; i++) {
		if (!isascii((unsigned char)code[i]) || !isalpha((unsigned char)code[i]))
			return -1;
		c[i] = (char)toupper((unsigned char)code[i]);
	}
	if (upper)
		memcpy(upper, c, 4);
	if (memcmp(c, last, sizeof(last)) != 0) { /* a list has one currency, or a few */
		memcpy(last, c, sizeof(last));
		digits = digits_of(c);
	}
	return digits;
}

/* A decimal number taken apart: digits without the point, and how many of them stand behind it. */
struct decimal {
	bool negative;
	char digits[DIGITS_MAX];
	int n, scale;
};

static bool add_digit(struct decimal *d, char c)
{
	if (d->n == 0 && c == '0')
		return true; /* leading zeros weigh nothing */
	if (d->n == DIGITS_MAX)
		return false;
	d->digits[d->n++] = c;
	return true;
}

/* The digits before the point: all plain, or in groups of three after commas. */
static const char *read_whole(const char *p, struct decimal *d, int *error)
{
	const char *group = NULL;
	int seen = 0;

	for (; isdigit((unsigned char)*p) || *p == ','; p++) {
		if (*p == ',') {
			if (seen == 0 || (group && p - group != 4) || (!group && seen > 3))
				*error = -EINVAL;
			group = p;
			continue;
		}
		seen++;
		if (!add_digit(d, *p))
			*error = -ERANGE;
	}
	if (group && p - group != 4)
		*error = -EINVAL;
	if (seen == 0 && *p != '.')
		*error = -EINVAL;
	return p;
}

static const char *read_exponent(const char *p, struct decimal *d, int *error)
{
	int sign = 1, v = 0;
	const char *start;

	if (*p != 'e' && *p != 'E')
		return p;
	p++;
	if (*p == '+' || *p == '-')
		sign = *p++ == '-' ? -1 : 1;
	for (start = p; isdigit((unsigned char)*p); p++)
		if (v < 10000)
			v = v * 10 + (*p - '0');
	if (p == start)
		*error = -EINVAL;
	d->scale -= sign * v;
	return p;
}

static int decimal_parse(const char *p, struct decimal *d)
{
	const char *start;
	int error = 0;

	*d = (struct decimal){ 0 };
	p += strspn(p, " ");
	if (*p == '-' || *p == '+')
		d->negative = *p++ == '-';
	p = read_whole(p, d, &error);
	if (*p == '.') {
		for (start = ++p; isdigit((unsigned char)*p); p++) {
			if (!add_digit(d, *p) && error == 0)
				error = -ERANGE;
			d->scale++;
		}
		if (p == start)
			error = -EINVAL;
	}
	p = read_exponent(p, d, &error);
	p += strspn(p, " ");
	return *p ? -EINVAL : error;
}

/* What is finer than the minor unit is rounded, half away from zero: sums that a partner made in floats
 * end in ...0004 or ...9998. */
static int decimal_minor(const struct decimal *d, int minor_digits, int64_t *out)
{
	int keep = d->n - d->scale + minor_digits; /* digits of the result */
	int64_t v = 0;

	for (int i = 0; i < keep; i++) {
		int digit = i < d->n ? d->digits[i] - '0' : 0;

		if (d->n == 0)
			break;
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v))
			return -ERANGE;
	}
	if (keep >= 0 && keep < d->n && d->digits[keep] >= '5' && __builtin_add_overflow(v, 1, &v))
		return -ERANGE;
	*out = d->negative ? -v : v;
	return 0;
}

int map_money(const char *text, const char *currency, int64_t *out_minor)
{
	struct decimal d;
	int digits = currency ? currency_digits(currency, NULL) : 2;
	int rc;

	if (digits < 0)
		return -EINVAL;
	rc = decimal_parse(text, &d);
	return rc < 0 ? rc : decimal_minor(&d, digits, out_minor);
}
