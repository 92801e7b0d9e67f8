/* Values of items: every conversion, and what sets an item aside. */
#include "tests/unit/mapped.h"

static void numbers(void **state)
{
	static const struct {
		const char *json;
		int64_t wanted;
	} good[] = {
		{ "12", 12 },    { "\"12\"", 12 },    { "\" 12 \"", 12 },
		{ "12.0", 12 },  { "\"12.00\"", 12 }, { "1e3", 1000 },
		{ "\"+7\"", 7 }, { "0", 0 },          { "\"007\"", 7 },
	};
	static const char *const bad[] = { "\"12abc\"",  "12.5",  "\"1.5\"",
					   "\"twelve\"", "true",  "[]",
					   "\"0x10\"",   "1e30",  "\"99999999999999999999\"",
					   "\"12 3\"",   "\"-\"", "\"1.\"" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char *text =
			mem_printf("{\"id\": 1, \"title\": \"t\", \"sleeps\": %s}", good[i].json);
		struct mapped m = mapped("homes", text);

		has_int(&m, "capacity", good[i].wanted);
		cJSON_Delete(m.item);
		free(text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *text = mem_printf("{\"id\": 1, \"title\": \"t\", \"sleeps\": %s}", bad[i]);

		aside("homes", text, "capacity", "is ");
		free(text);
	}
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"sleeps\": -1}", "capacity", "negative");
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"baths\": \"nan\"}", "bathrooms",
	      "is no number");
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"baths\": \"1e999\"}", "bathrooms",
	      "is out of range");
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"baths\": \"1,5\"}", "bathrooms",
	      "is no number");
}

static void booleans(void **state)
{
	static const struct {
		const char *json;
		int wanted; /* -1: no such thing */
	} cases[] = {
		{ "true", 1 },    { "false", 0 },  { "1", 1 },     { "0", 0 },  { "\"true\"", 1 },
		{ "\"yes\"", 1 }, { "\"No\"", 0 }, { "\"1\"", 1 }, { "2", -1 }, { "\"si\"", -1 },
	};
	struct manifest_column column = { .name = "b", .as = MAP_BOOL };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cJSON *v = json(cases[i].json);
		struct row_value out = { 0 };
		const char *why = NULL;
		int rc = map_value(&column, v, NULL, arena, &out, &why);

		assert_int_equal(rc, cases[i].wanted < 0 ? -EINVAL : 0);
		if (rc == 0)
			assert_int_equal(out.v.b, cases[i].wanted);
		else
			assert_non_null(strstr(why, "neither true nor false"));
		cJSON_Delete(v);
	}
}

static void times(void **state)
{
	static const char *const good[][2] = {
		{ "\"2026-01-02T03:04:05Z\"", "2026-01-02T03:04:05Z" },
		{ "\"2026-01-02T03:04:05+05:30\"", "2026-01-01T21:34:05Z" },
		{ "\"2026-01-02 03:04:05\"",
		  "2026-01-02T01:04:05Z" }, /* the column's tz is +02:00 */
		{ "\"2026-01-02\"", "2026-01-01T22:00:00Z" },
		{ "\"20260102\"", "2026-01-01T22:00:00Z" },
		{ "1767323045", "2026-01-02T03:04:05Z" },
		{ "1767323045000", "2026-01-02T03:04:05Z" },
		{ "1767323045.5", "2026-01-02T03:04:05.5Z" },
		{ "\"Fri, 02 Jan 2026 03:04:05 GMT\"", "2026-01-02T03:04:05Z" },
		{ "\"2026-01-02T03:04:05-0300\"", "2026-01-02T06:04:05Z" },
	};
	static const char *const bad[] = { "\"not a date\"", "\"2026-02-31\"", "true", "{}",
					   "\"2026-13-01T00:00:00Z\"" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char *text = mem_printf("{\"id\": 1, \"title\": \"t\", \"made\": %s}", good[i][0]);
		struct mapped m = mapped("homes", text);

		if (value(&m, "partner_created_at")->v.i != us(good[i][1]))
			fail_msg("%s is not %s", good[i][0], good[i][1]);
		cJSON_Delete(m.item);
		free(text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *text = mem_printf("{\"id\": 1, \"title\": \"t\", \"made\": %s}", bad[i]);

		aside("homes", text, "partner_created_at", "is no time");
		free(text);
	}
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"updated\": \"never\"}", "updated_at",
	      "is no time");
}

static void dates_and_order(void **state)
{
	struct mapped m = mapped(
		"stays",
		"{\"id\": 1, \"day\": \"2026-01-02\", \"last_day\": \"2026-01-05T23:30:00-11:00\"}");

	has_int(&m, "starts_on", us("2026-01-02") / (86400 * INT64_C(1000000)));
	has_int(&m, "ends_on", us("2026-01-05") / (86400 * INT64_C(1000000)));
	cJSON_Delete(m.item);
	m = mapped("stays", "{\"id\": 1, \"day\": \"1969-12-31\"}");
	has_int(&m, "starts_on", -1);
	cJSON_Delete(m.item);
	m = mapped("stays",
		   "{\"id\": 1, \"from\": \"2026-01-02T10:00Z\", \"to\": \"2026-01-02T10:00Z\"}");
	cJSON_Delete(m.item);
	aside("stays",
	      "{\"id\": 1, \"from\": \"2026-01-02T10:00Z\", \"to\": \"2026-01-02T09:59Z\"}",
	      "ends_at", "before starts_at");
	aside("stays", "{\"id\": 1, \"day\": \"2026-01-02\", \"last_day\": \"2026-01-01\"}",
	      "ends_on", "before starts_on");
	aside("stays", "{\"id\": 1, \"day\": \"2026-02-30T10:00:00Z\"}", "starts_on", "is no date");
}

static void money(void **state)
{
	static const struct {
		const char *text, *currency;
		int64_t wanted;
	} good[] = {
		{ "12.34", "EUR", 1234 },
		{ "12.34", NULL, 1234 },
		{ "12", "USD", 1200 },
		{ "1,234.50", "USD", 123450 },
		{ "1,234,567", "USD", 123456700 },
		{ "-0.05", "GBP", -5 },
		{ "+.5", "EUR", 50 },
		{ " 7 ", "EUR", 700 },
		{ "18000", "JPY", 18000 },
		{ "18000.00", "JPY", 18000 },
		{ "1.234", "KWD", 1234 },
		{ "1.2", "kwd", 1200 },
		{ "1.2345", "CLF", 12345 },
		{ "0.30000000000000004", "EUR", 30 },
		{ "19.989999999999998", "EUR", 1999 },
		{ "0.005", "EUR", 1 },
		{ "0.0049", "EUR", 0 },
		{ "-0.005", "EUR", -1 },
		{ "1e3", "EUR", 100000 },
		{ "1.5E-1", "EUR", 15 },
		{ "0", "EUR", 0 },
		{ "0e99999", "EUR", 0 },
		{ "1e-99999", "EUR", 0 },
		{ "92233720368547758.07", "EUR", INT64_MAX },
		{ "000000000000000000000000000000000000000000000000000000000000000000000001", "JPY",
		  1 },
	};
	static const struct {
		const char *text, *currency;
		int wanted;
	} bad[] = {
		{ "", "EUR", -EINVAL },         { "abc", "EUR", -EINVAL },
		{ "12.34.5", "EUR", -EINVAL },  { "1,23", "EUR", -EINVAL },
		{ "1234,567", "EUR", -EINVAL }, { "1.234,50", "EUR", -EINVAL },
		{ "1,,234", "EUR", -EINVAL },   { ",123", "EUR", -EINVAL },
		{ "$5", "EUR", -EINVAL },       { "5 EUR", "EUR", -EINVAL },
		{ "1.", "EUR", -EINVAL },       { ".", "EUR", -EINVAL },
		{ "1e", "EUR", -EINVAL },       { "--1", "EUR", -EINVAL },
		{ "1", "ZZZ", -EINVAL },        { "1", "", -EINVAL },
		{ "inf", "EUR", -EINVAL },      { "92233720368547758.08", "EUR", -ERANGE },
		{ "1e30", "EUR", -ERANGE },     { "1e99999", "EUR", -ERANGE },
	};
	int64_t v = 0;

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (map_money(good[i].text, good[i].currency, &v) != 0 || v != good[i].wanted)
			fail_msg("%s is %lld", good[i].text, (long long)v);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		v = 77;
		if (map_money(bad[i].text, bad[i].currency, &v) != bad[i].wanted || v != 77)
			fail_msg("%s %s", bad[i].text, bad[i].currency);
	}
}

/* Through a double and back: every cent of a range comes out as it went in. */
static void money_round_trip(void **state)
{
	for (int64_t cents = 0; cents < 40000; cents++) {
		char *text = mem_printf("%lld.%02d", (long long)(cents / 100 * 99991),
					(int)(cents % 100));
		cJSON *v = json(text);
		struct manifest_column column = { .name = "m", .as = MAP_MONEY };
		struct row_value out = { 0 };
		const char *why = NULL;

		assert_int_equal(map_value(&column, v, "EUR", arena, &out, &why), 0);
		assert_true(out.v.i == cents / 100 * 99991 * 100 + cents % 100);
		cJSON_Delete(v);
		free(text);
	}
}

static void currencies(void **state)
{
	char upper[4];

	assert_int_equal(currency_digits("eur", upper), 2);
	assert_string_equal(upper, "EUR");
	assert_int_equal(currency_digits("JPY", NULL), 0);
	assert_int_equal(currency_digits("KWD", NULL), 3);
	assert_int_equal(currency_digits("CLF", NULL), 4);
	assert_int_equal(currency_digits("EU", NULL), -1);
	assert_int_equal(currency_digits("D A", NULL), -1);
	assert_int_equal(currency_digits("LAF", NULL), -1); /* inside "ALL AFN" it is none */
	assert_int_equal(currency_digits("XTS", NULL), -1);
	assert_int_equal(currency_digits("XAU", NULL), -1);
	assert_int_equal(currency_digits(NULL, NULL), -1);
}

static void countries_and_currencies(void **state)
{
	struct mapped m = mapped(
		"homes",
		"{\"id\": 1, \"title\": \"t\", \"country\": \"Portugal\", \"cur\": \"\", \"tags\": null}");

	has_text(&m, "country_code", NULL);
	has_text(&m, "currency", NULL);
	has_text(&m, "extra", "{\"tags\":null,\"country_code\":\"Portugal\"}");
	cJSON_Delete(m.item);
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"cur\": \"EURO\"}", "currency",
	      "the currency \"EURO\" is not known");
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"cur\": \"XXY\"}", "currency", "not known");
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"cur\": \"ALL\", \"price\": \"1 000\"}",
	      "price_minor", "is no amount");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),    cmocka_unit_test(booleans),
		cmocka_unit_test(times),      cmocka_unit_test(dates_and_order),
		cmocka_unit_test(money),      cmocka_unit_test(money_round_trip),
		cmocka_unit_test(currencies), cmocka_unit_test(countries_and_currencies),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
