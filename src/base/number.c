#define _GNU_SOURCE /* strtod_l, newlocale */
#include "base/number.h"

#include "base/status.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool gm_parse_integer(const char *text, size_t length, int64_t low, int64_t high, int64_t *value) {
    bool negative = length > 0 && text[0] == '-';
    uint64_t magnitude = 0;
    if (length == (size_t)negative) return false;
    for (size_t i = negative; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (magnitude > ((uint64_t)INT64_MAX - digit) / 10) return false;
        magnitude = magnitude * 10 + digit;
    }
    *value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return *value >= low && *value <= high;
}

static locale_t the_locale; /* one for all threads, for the life of the process */

static void make_locale(void) { the_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

static locale_t c_locale(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_locale);
    if (!the_locale) {
        gm_error(GM_NO_MEMORY, "out of memory: the C locale could not be had");
        gm_out_of_memory();
    }
    return the_locale;
}

bool gm_parse_double(const char *text, size_t length, double *value) {
    char copy[401], *end;
    if (length == 0 || length >= sizeof copy) return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (strspn(copy, "-+.0123456789eE") != length) return false; /* no hex, no "inf", no space */
    *value = strtod_l(copy, &end, c_locale());
    return end == copy + length && isfinite(*value);
}

bool gm_format_double(double value, char text[GM_DOUBLE_TEXT]) {
    text[0] = '\0';
    if (!isfinite(value)) return false;
    locale_t before = uselocale(c_locale());
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, GM_DOUBLE_TEXT, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    uselocale(before);
    return true;
}
