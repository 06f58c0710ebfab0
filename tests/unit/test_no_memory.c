/* Where memory is short in code that returns no status: the program ends with GM_NO_MEMORY, and decides nothing meanwhile. The
 * allocations are those of libraries, which the tests of whole programs leave alone. */
#define _GNU_SOURCE /* RTLD_NEXT, newlocale */
#include "base/number.h"
#include "train/config_keys.h"

#include "test_support.h"

#include <dlfcn.h>
#include <locale.h>
#include <pthread.h>

/* ---- the C locale ----------------------------------------------------------------------------------------------- */

static _Atomic int locales; /* asked for */
static bool no_locale;

locale_t newlocale(int mask, const char *name, locale_t base) {
    locales++;
    locale_t (*real)(int, const char *, locale_t) = (locale_t (*)(int, const char *, locale_t))dlsym(RTLD_NEXT, "newlocale");
    return no_locale ? (locale_t)0 : real(mask, name, base);
}

static void *parse_number(void *unused) {
    double value;
    (void)unused;
    return gm_parse_double("1.5", 3, &value) && value == 1.5 ? NULL : (void *)1;
}

static void test_one_locale(void **state) {
    (void)state;
    pthread_t thread[8];
    void *wrong;
    for (int i = 0; i < 8; i++) assert_int_equal(pthread_create(&thread[i], NULL, parse_number, NULL), 0);
    for (int i = 0; i < 8; i++) assert_true(pthread_join(thread[i], &wrong) == 0 && !wrong);
    assert_int_equal(locales, 1);
}

/* ---- children, which end or not --------------------------------------------------------------------------------- */

static void parse_without_locale(void) {
    no_locale = true;
    parse_number(NULL);
}

static void test_no_locale(void **state) { /* before the first number */
    (void)state;
    assert_int_equal(gm_test_status_of(parse_without_locale), GM_NO_MEMORY);
}

/* ---- cJSON ------------------------------------------------------------------------------------------------------ */

static int fail_at, allocations;

static void *failing_malloc(size_t size) { return ++allocations == fail_at ? NULL : malloc(size); }

static void set_defaults(void) {
    static gm_config config;
    cJSON_InitHooks(&(cJSON_Hooks){failing_malloc, free});
    gm_config_set_defaults(&config);
    cJSON_InitHooks(NULL);
    _exit(allocations < fail_at ? 0 : 97); /* 97: one failed, and nothing came of it */
}

/* Parity's readings, all given by a file and as they are: none is kept from being set. */
static void note_kept(void) {
    static gm_config config;
    const char **giver = calloc(gm_config_key_count, sizeof *giver);
    for (size_t i = 0; giver && i < gm_config_key_count; i++) giver[i] = "run.json";
    gm_config_set_defaults(&config);
    gm_config_set_parity(&config);
    cJSON_InitHooks(&(cJSON_Hooks){failing_malloc, free});
    gm_config_note_kept(&config, giver);
    cJSON_InitHooks(NULL);
    free(giver);
    _exit(allocations < fail_at ? 0 : 97);
}

static void fail_each(void (*act)(void)) {
    int tried = 0, status;
    for (fail_at = 1; (status = gm_test_status_of(act)) == GM_NO_MEMORY; fail_at++) tried++;
    if (status != 0) fail_msg("allocation %d: status %d", fail_at, status);
    assert_true(tried > 10);
}

static void test_defaults(void **state) {
    (void)state;
    fail_each(set_defaults);
}

static void test_kept(void **state) {
    (void)state;
    fail_each(note_kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_locale),
        cmocka_unit_test(test_one_locale),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
