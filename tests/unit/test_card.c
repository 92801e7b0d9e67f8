/* Card numbers: found however they are spaced, and nothing else taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/base/card.h"
#include "common/base/mem.h"

static void are_found(void **state)
{
	static const char *const cards[] = {
		"4111111111111111",
		"4222222222222",
		"4222222222222-2",
		"6616590767813-4111111111111111",
		"6616590767813-2 4111111111111111",
		"6304000000000000000",
		"378282246310005",
		"4111 1111 1111 1111",
		"4111-1111-1111-1111",
		"4111.1111.1111.1111",
		"3782 822463 10005",
		"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
		"4111\xc2\xa0"
		"1111\xc2\xa0"
		"1111\xc2\xa0"
		"1111",
		"4111 \xe2\x80\x93 1111 - 1111 - 1111",
		"\xef\xbc\x94"
		"111111111111111",
		"card: 4111111111111111, thanks",
		"order 12 4111 1111 1111 1111",
		"{\"pan\":4111111111111111}",
		"pay-by-4111111111111111-now",
		"carte4111111111111111x",
		"4111\\n1111\\n1111\\n1111",
		"**** **** **** ****",
		"4111     1111     1111     1111",
		"4111|1111|1111|1111",
		"4111\xe2\x88\x92"
		"1111\xe2\x88\x92"
		"1111\xe2\x88\x92"
		"1111",
		"4111\xc2\xb7"
		"1111\xe2\x81\xa0"
		"1111\xef\xbc\x8d"
		"1111",
		"\xd9\xa4\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1"
		"\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1",
		"\xf0\x9d\x9f\x92"
		"111111111111111",
		"https://shop.example/pay?card=4111+1111+1111+1111&x=1",
		"https://shop.example/pay?card=4111%201111%201111%201111",
		"https://shop.example/pay%2F4111111111111111%2f",
		"%34111111111111111",
		"{\"card\":\"\\u0034111\\u00a01111 1111 1111\"",
		"\\ud835\\udfd2111111111111111",
		"\\f4111111111111111\\b",
		"%B4111111111111111^A/GIVER^2912101",
		";4111111111111111=2912101",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cards); i++)
		if (!card_is_in(cards[i], strlen(cards[i])))
			fail_msg("not found: %s", cards[i]);
}

static void nothing_else_is(void **state)
{
	static const char *const others[] = {
		"",
		"4111111111111112",
		"411111111111",
		"41111111111111111111",
		"1700000000007",
		"{\"parent\":\"6616590767813-2\",\"id\":\"6616590767814-12\"}",
		"2026-11-29 14:00:00",
		"52.520006612349",
		"{\"lat\":-113.40495401231,\"lng\":52.520006612349}",
		"+4915112345678",
		"+44 20 7946 0958 12",
		"d6a0f4111111111111111b",
		"GB29NWBK60161331926819",
		"DE89370400440532013000",
		"550e8400-e29b-41d4-a716-446655440000",
		"0000000000000000",
		"4111, 1111, 1111, 1111",
		"4111 1111 1111 111",
		"+4915112345678 +4915112345679",
		"a %2 and \\u12, \\",
		"\xd9\xa4\xd9",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (card_is_in(others[i], strlen(others[i])))
			fail_msg("taken for a card: %s", others[i]);
}

static void are_masked(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_puts(&b, "a 4111-1111 1111\xc2\xa0"
		     "1111 b 5500000000000004 c 12");
	card_mask(&b);
	assert_string_equal(buf_str(&b), "a ****-**** ****\xc2\xa0"
					 "**** b **************** c 12");
	assert_true(card_is_in(b.data, b.len)); /* a masked one is none to be paid with */
	buf_reset(&b);
	buf_puts(&b, "{\"c\":\"\\u0034111\\u00a01111%201111+1111\",\"d\":\"\xef\xbc\x94"
		     "111111111111111\"}");
	card_mask(&b);
	assert_string_equal(buf_str(&b),
			    "{\"c\":\"**** **** ****+****\",\"d\":\"****************\"}");
	buf_clear(&b);
}

static void in_json(void **state)
{
	static const char text[] = "{\"a\":[1,{\"b\":\"\\u0034111 1111 1111 1111\"}]}";
	cJSON *v = NULL;

	(void)state;
	assert_int_equal(json_parse(text, sizeof(text) - 1, 100, &v, NULL), 0);
	assert_true(card_is_in_json(v));
	cJSON_Delete(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(are_found),
		cmocka_unit_test(nothing_else_is),
		cmocka_unit_test(are_masked),
		cmocka_unit_test(in_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
