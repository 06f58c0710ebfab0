/* The tokenizer's ground: UTF-8, character classes, normal forms, the byte-level alphabet, regular expressions. */
#include "test_support.h"

#include "io/tokenizer/byte_alphabet.h"
#include "io/tokenizer/pattern.h"
#include "io/tokenizer/word_cache.h"

static void test_utf8(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code++) {
        if (code >= 0xd800 && code < 0xe000) continue;
        char bytes[4];
        uint32_t back;
        int size = gm_utf8_encode(bytes, code);
        assert_int_equal(gm_utf8_decode(bytes, (size_t)size, &back), size);
        assert_int_equal(back, code);
        assert_int_equal(gm_utf8_size(bytes[0]), size);
        for (int cut = 1; cut < size; cut++) assert_int_equal(gm_utf8_decode(bytes, (size_t)cut, &back), -cut);
    }
    static const struct {
        const char *bytes, *lossy;
    } lossy[] = {
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xe2\x82", "\xef\xbf\xbd"},
        {"\xe2\x28\xa1", "\xef\xbf\xbd(\xef\xbf\xbd"},
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x9f\x98x", "\xef\xbf\xbdx"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof lossy / sizeof *lossy; i++) {
        gm_buffer text = {0};
        gm_utf8_append_lossy(&text, lossy[i].bytes, strlen(lossy[i].bytes));
        assert_string_equal(gm_buffer_string(&text), lossy[i].lossy);
        gm_buffer_free(&text);
    }
}

static void test_classes(void **state) {
    (void)state;
    static const uint32_t spaces[] = {9, 10, 11, 12, 13, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
    static const uint32_t none[] = {8, 14, 0x1c, 0x1f, 0x180e, 0x200b, 0x2060, 0xfeff, 0x10ffff};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) assert_true(gm_unicode_is_space(spaces[i]));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) assert_false(gm_unicode_is_space(none[i]) || gm_unicode_is_word(none[i]));
    assert_true(gm_unicode_is_numeric('7') && gm_unicode_is_numeric(0xbd) && gm_unicode_is_numeric(0x2167) && !gm_unicode_is_numeric('x'));
    assert_true(gm_unicode_is_punctuation('$') && gm_unicode_is_punctuation(0x3002) && !gm_unicode_is_punctuation(0x20ac) &&
                !gm_unicode_is_punctuation('a'));
    assert_true(gm_unicode_is_word('_') && gm_unicode_is_word(0x301) && gm_unicode_is_word(0x65e5) && !gm_unicode_is_word('-'));
}

static void test_normal_forms(void **state) {
    (void)state;
    static const struct {
        const char *text, *forms[4];
    } known[] = {
        /* NFC NFD NFKC NFKD */
        {"e\xcc\x81", {"é", "e\xcc\x81", "é", "e\xcc\x81"}},
        {"ﬁ", {"ﬁ", "ﬁ", "fi", "fi"}},
        {"a\xcc\x81\xcc\xa3", {"ạ\xcc\x81", "a\xcc\xa3\xcc\x81", "ạ\xcc\x81", "a\xcc\xa3\xcc\x81"}},
        {"한", {"한", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "한", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"}},
        {"㋿", {"㋿", "㋿", "㋿", "㋿"}}, /* Unicode 12: later than the package's tables */
        {"a\xcc\x81\xe0\xa2\x98\xcc\xa3",
         {"á\xe0\xa2\x98\xcc\xa3", "a\xcc\x81\xe0\xa2\x98\xcc\xa3", "á\xe0\xa2\x98\xcc\xa3",
          "a\xcc\x81\xe0\xa2\x98\xcc\xa3"}}, /* so is U+0898 */
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        for (int form = 0; form < 4; form++) {
            gm_buffer text = {0};
            assert_int_equal(gm_unicode_normalize(&text, gm_slice_of(known[i].text), (gm_normal_form)form), GM_OK);
            assert_string_equal(gm_buffer_string(&text), known[i].forms[form]);
            gm_buffer_free(&text);
        }
    }
    assert_true(gm_unicode_is_plain(gm_slice_of("abc é"), GM_NFC) && !gm_unicode_is_plain(gm_slice_of("abc é"), GM_NFD) &&
                !gm_unicode_is_plain(gm_slice_of("e\xcc\x81"), GM_NFC));
    gm_buffer lower = {0};
    gm_unicode_lower_case(&lower, gm_slice_of("ABZ ÀΣ\xc4\xb0Ꭰ"));
    assert_string_equal(gm_buffer_string(&lower), "abz àσi\xcc\x87ꭰ");
    gm_buffer_free(&lower);
}

static void test_byte_alphabet(void **state) {
    (void)state;
    bool seen[0x200] = {false};
    for (int i = 0; i < 256; i++) {
        uint32_t code = gm_byte_alphabet_code((unsigned char)i);
        unsigned char byte;
        assert_true(code < 0x200 && !seen[code] && gm_byte_alphabet_byte(code, &byte) && byte == i);
        seen[code] = true;
    }
    assert_int_equal(gm_byte_alphabet_code(' '), 0x120);
    assert_int_equal(gm_byte_alphabet_code('\n'), 0x10a);
    assert_int_equal(gm_byte_alphabet_code('!'), '!');
    assert_int_equal(gm_byte_alphabet_code(0xad), 0x143);
    unsigned char byte;
    assert_false(gm_byte_alphabet_byte(' ', &byte) || gm_byte_alphabet_byte(0x144, &byte) || gm_byte_alphabet_byte(0xad, &byte) ||
                 gm_byte_alphabet_byte(0x2581, &byte));
}

/* All matches of `pattern` in `text`, with a bar after each. */
static void expect_matches(const char *pattern, const char *text, const char *expected) {
    gm_pattern p = {0};
    if (gm_regex_compile(&p.regex, gm_slice_of(pattern)) != GM_OK) fail_msg("%s", gm_error_text());
    gm_regex_scratch *scratch = gm_regex_scratch_new();
    gm_search search = gm_search_begin(&p, scratch, gm_slice_of(text));
    gm_buffer found = {0};
    for (bool more = true;;) {
        assert_int_equal(gm_search_next(&search, &more), GM_OK);
        if (!more) break;
        gm_buffer_append(&found, text + search.begin, search.end - search.begin);
        gm_buffer_char(&found, '|');
    }
    if (strcmp(gm_buffer_string(&found), expected) != 0)
        fail_msg("%s on \"%s\": %s, not %s", pattern, text, gm_buffer_string(&found), expected);
    gm_buffer_free(&found);
    gm_regex_scratch_free(scratch);
    gm_pattern_free(&p);
}

/* Each result is Oniguruma's. */
static void test_regular_expressions(void **state) {
    (void)state;
    expect_matches("\\p{N}{1,3}", "1234567x٣", "123|456|7|٣|");
    expect_matches("\\s+(?!\\S)|\\s+", "a   b \n", "  | | \n|");
    expect_matches("\\s", "\x1c\xe1\xa0\x8e\xe2\x80\x8b\xc2\x85", "\xc2\x85|"); /* neither U+001C nor U+180E nor U+200B */
    expect_matches("(?i:'s|'t)", "'S 's '\xc5\xbf 'T", "'S|'s|'\xc5\xbf|'T|");
    expect_matches("\\w+", "a½_b\xcc\x81-9", "a½_b\xcc\x81|9|");
    expect_matches("[\\w]+", "a½_b\xcc\x81-9", "a|_b\xcc\x81|9|"); /* its \w is narrower within a class */
    expect_matches("\\p{L}+", "a\xf0\xb1\x8d\x90z \xe1\xb2\x89", "a\xf0\xb1\x8d\x90z|\xe1\xb2\x89|"); /* Unicode 15 and 16 */
    expect_matches("[^\\s[.,!]]+", "a b,c!", "a|b|c|");
    expect_matches("[\\p{L}&&[^\\p{Han}]]+", "ab日c", "ab|c|");
    expect_matches("[a-f&&d-z]", "cdfg", "d|f|");
    expect_matches("[^a-f&&d-z]", "adg", "a|g|");
    expect_matches("[\\S\\n]+", "a \nb", "a|\nb|");
    expect_matches("\\p{^L}\\P{N}", "1a 2", "1a|");
    expect_matches("^a.|b$", "ab\nac\nb", "ab|ac|b|");
    expect_matches("(?m:a.)", "a\na", "a\n|");
    expect_matches("a.", "a\nab", "ab|");
    expect_matches("x*", "axxb", "|xx||"); /* an empty match right after a match is none */
    expect_matches("a{,2}b|\\x{e9}|\\u00e8|\\h\\h", "aab é è ff", "aab|é|è|ff|");
    expect_matches("\\bd\\b|\\Bd", "d ad", "d|d|");
    expect_matches("{a}", "{a}", "{a}|");
}

static void test_word_cache(void **state) {
    (void)state;
    gm_word_cache cache;
    bool known;
    assert_int_equal(gm_word_cache_open(&cache), GM_OK);
    static const int32_t ids[GM_CACHED_IDS + 1] = {7, 8, 9};
    gm_slice word = gm_slice_of("word"), longest = gm_slice_of("123456789012345678901234567890"),
             too_long = gm_slice_of("1234567890123456789012345678901");
    gm_cached_word *place = gm_word_cache_find(&cache, word, &known);
    assert_true(place && !known);
    gm_word_cache_put(place, word, ids, 3);
    place = gm_word_cache_find(&cache, word, &known);
    assert_true(known && place->count == 3 && memcmp(place->ids, ids, sizeof *ids * 3) == 0);
    gm_word_cache_find(&cache, gm_slice_of("wor"), &known);
    assert_false(known);
    place = gm_word_cache_find(&cache, longest, &known);
    gm_word_cache_put(place, longest, ids, GM_CACHED_IDS + 1); /* too many: not kept */
    gm_word_cache_find(&cache, longest, &known);
    assert_false(known);
    gm_word_cache_put(place, longest, ids, 0); /* a word of no ids is one */
    place = gm_word_cache_find(&cache, longest, &known);
    assert_true(known && place->count == 0);
    assert_null(gm_word_cache_find(&cache, too_long, &known));
    assert_null(gm_word_cache_find(&cache, (gm_slice){"", 0}, &known));
    gm_word_cache_close(&cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_normal_forms),
        cmocka_unit_test(test_byte_alphabet),
        cmocka_unit_test(test_regular_expressions),
        cmocka_unit_test(test_word_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
