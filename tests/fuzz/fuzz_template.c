/* A chat template: compiled, and run on a few conversations. What it writes has a mark for each byte. */
#include "fuzz.h"

#include "data/jinja/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const gm_message messages[] = {
        {"system", "Be \xc3\xa9 brief.\n", false}, {"user", "<|im_end|> 1 + 1?", false}, {"assistant", " 2 ", true}, {"user", "", false},
        {"assistant", "<think>x</think>y", true},
    };
    static const struct {
        size_t first, count;
    } conversations[] = {{0, 5}, {1, 2}, {1, 4}, {0, 1}};
    gm_jinja *jinja = NULL;
    gm_status status = gm_jinja_compile(&jinja, "a template", (const char *)data, size);
    gm_fuzz_check(status, GM_BAD_FILE, "a template");
    for (size_t i = 0; status == GM_OK && i < sizeof conversations / sizeof *conversations; i++) {
        gm_jinja_input input = {
            .messages = messages + conversations[i].first, .count = conversations[i].count, .bos = "<s>", .eos = i % 2 ? "</s>" : NULL};
        gm_marked_text text = {0};
        gm_fuzz_check(gm_jinja_render(jinja, &input, &text), GM_BAD_FILE, "a template");
        for (size_t k = 0; k < text.text.length; k++)
            GM_CHECK((text.marks[k] & GM_MARK_PLACE) <= input.count, "byte %zu is of message %d", k, text.marks[k] & GM_MARK_PLACE);
        gm_marked_free(&text);
    }
    gm_jinja_close(jinja);
    return 0;
}
