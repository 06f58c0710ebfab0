/* A fuzz target without libFuzzer: every file of a seed directory as it is, then mutations of them, the same in every run.
 *   fuzz_NAME DIRECTORY [MUTATIONS]      or      fuzz_NAME FILE      for one input that was found to fail */
#include "fuzz.h"

#include "base/number.h"
#include "base/random.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { MUTATIONS = 2000, LONGEST = 1 << 20 };

typedef struct input {
    uint8_t *bytes; /* exactly `length` of them, so that reading on is seen by the address sanitizer */
    size_t length;
} input;

static void run(input i) {
    uint8_t *copy = malloc(i.length ? i.length : 1);
    GM_CHECK(copy, "out of memory");
    if (i.length) memcpy(copy, i.bytes, i.length);
    LLVMFuzzerTestOneInput(copy, i.length);
    free(copy);
}

static input read_input(const char *path) {
    gm_mapped_file mapped;
    GM_CHECK(gm_file_map(&mapped, path, GM_USAGE) == GM_OK, "%s", gm_error_text());
    input made = {malloc(mapped.length ? mapped.length : 1), mapped.length};
    GM_CHECK(made.bytes, "out of memory");
    if (made.length) memcpy(made.bytes, mapped.bytes, made.length);
    gm_file_unmap(&mapped);
    return made;
}

/* bytes[at .. at + old) becomes `with` */
static void splice(input *i, size_t at, size_t old, const void *with, size_t length) {
    if (i->length - old + length > LONGEST) return;
    uint8_t *made = malloc(i->length - old + length + 1);
    GM_CHECK(made, "out of memory");
    memcpy(made, i->bytes, at);
    memcpy(made + at, with, length);
    memcpy(made + at + length, i->bytes + at + old, i->length - at - old);
    free(i->bytes);
    *i = (input){made, i->length - old + length};
}

static void mutate(input *i, gm_random *random, const input *other) {
    static const char *const words[] = {"{",       "}",
                                        "[",       "]",
                                        "\"",      ",",
                                        ":",       "\\u0000",
                                        "\\ud800", "\\",
                                        "null",    "true",
                                        "-0",      "1e999",
                                        "1.0",     "9007199254740993",
                                        "\xff",    "\xed\xa0\x80",
                                        "\n",      "\t",
                                        "\r\n",    "\xef\xbb\xbf",
                                        "{}",      "[]",
                                        "\"\""};
    uint32_t length = (uint32_t)i->length, at = gm_random_below(random, length + 1), rest = length - at;
    uint32_t part = gm_random_below(random, rest + 1);
    if (part > 32) part = 1 + part % 32;
    uint8_t byte = (uint8_t)gm_random_u32(random);
    const char *word = words[gm_random_below(random, sizeof words / sizeof *words)];
    switch (gm_random_below(random, 7)) {
    case 0:
        if (rest) i->bytes[at] ^= (uint8_t)(1u << (byte & 7));
        break;
    case 1: splice(i, at, rest > 0, &byte, 1); break;
    case 2: splice(i, at, part, "", 0); break;
    case 3: splice(i, at, rest > 0, word, strlen(word)); break;
    case 4: splice(i, at, 0, word, strlen(word)); break;
    case 5: {
        uint8_t copy[32];
        memcpy(copy, i->bytes + at, part);
        splice(i, gm_random_below(random, length + 1), 0, copy, part);
        break;
    }
    default: /* the tail of another seed */
        if (other->length) {
            uint32_t from = gm_random_below(random, (uint32_t)other->length);
            splice(i, at, rest, other->bytes + from, other->length - from);
        }
    }
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static input *read_seeds(const char *directory, size_t *count) {
    struct dirent **entries;
    int found = scandir(directory, &entries, NULL, by_name);
    GM_CHECK(found >= 0, "%s: cannot be read", directory);
    input *seeds = calloc((size_t)found + 1, sizeof *seeds);
    GM_CHECK(seeds, "out of memory");
    *count = 0;
    for (int i = 0; i < found; i++) {
        char path[GM_PATH];
        if (gm_path_join(path, directory, entries[i]->d_name) == GM_OK && gm_file_exists(path)) seeds[(*count)++] = read_input(path);
        free(entries[i]);
    }
    free(entries);
    return seeds;
}

int main(int argc, char **argv) {
    int64_t mutations = MUTATIONS;
    LLVMFuzzerInitialize(&argc, &argv);
    if (argc < 2 || argc > 3 || (argc == 3 && !gm_parse_integer(argv[2], strlen(argv[2]), 0, INT32_MAX, &mutations))) {
        fprintf(stderr, "usage: %s DIRECTORY [MUTATIONS] | FILE\n", argv[0]);
        return 2;
    }
    if (!gm_directory_exists(argv[1])) {
        input one = read_input(argv[1]);
        run(one);
        free(one.bytes);
        return 0;
    }
    size_t count;
    input *seeds = read_seeds(argv[1], &count);
    GM_CHECK(count > 0, "%s: holds no seed", argv[1]);
    for (size_t i = 0; i < count; i++) run(seeds[i]);
    for (int64_t m = 0; m < mutations; m++) {
        gm_random random = gm_random_begin(1, GM_RANDOM_TEST, (uint32_t)m);
        const input *seed = &seeds[gm_random_below(&random, (uint32_t)count)];
        input changed = {malloc(seed->length + 1), seed->length};
        GM_CHECK(changed.bytes, "out of memory");
        memcpy(changed.bytes, seed->bytes, seed->length);
        for (uint32_t n = 1 + gm_random_below(&random, 4); n > 0; n--)
            mutate(&changed, &random, &seeds[gm_random_below(&random, (uint32_t)count)]);
        run(changed);
        free(changed.bytes);
    }
    printf("%zu seeds, %lld mutations\n", count, (long long)mutations);
    for (size_t i = 0; i < count; i++) free(seeds[i].bytes);
    free(seeds);
    return 0;
}
