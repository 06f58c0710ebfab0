/* A run is called by its method in every table that it gets into. Keys may vary the method (rank, edges, a linear router, a loss left
 * out); those that turn it into another one are refused. */
#include "train/config_keys.h"

enum { CONFLICTS = 6 };

/* Paths of the keys that contradict the method, in the table's order; their number. */
static int find_conflicts(const gm_config *config, bool routed, const char *found[CONFLICTS]) {
    const gm_adapter_config *a = &config->adapter;
    const struct {
        const char *path;
        bool contradicts;
    } keys[CONFLICTS] = {{"adapter.num_experts", routed == (a->num_experts == 1)},
                         {"adapter.top_k", !routed && a->top_k > 1},
                         {"adapter.router.type", routed == (a->router.type == GM_ROUTER_NONE)},
                         {"adapter.losses.poisson", !routed && a->losses.poisson > 0},
                         {"adapter.losses.normal", !routed && a->losses.normal > 0},
                         {"adapter.losses.balance", !routed && a->losses.balance > 0}};
    int count = 0;
    for (int i = 0; i < CONFLICTS; i++)
        if (keys[i].contradicts) found[count++] = keys[i].path;
    return count;
}

static const char *giver_of(const char *const *giver, const char *path, const char *nobody) {
    const char *given = giver[gm_config_find_key(path) - gm_config_keys];
    return given ? given : nobody;
}

static void write_key(gm_buffer *out, const gm_config *config, const char *path) {
    gm_buffer_format(out, "%s ", path);
    gm_config_write_value(out, config, gm_config_find_key(path));
}

gm_status gm_config_check_method(const gm_config *config, const char *const *giver) {
    const char *method = gm_config_method_name(config), *found[CONFLICTS];
    bool routed = gm_method_find(method)->defaults.router.type != GM_ROUTER_NONE;
    int count = find_conflicts(config, routed, found);
    if (count == 0) return GM_OK;
    gm_buffer text = {0};
    gm_buffer_format(&text, "%s: ", giver_of(giver, found[0], "defaults"));
    write_key(&text, config, found[0]);
    gm_buffer_format(&text, " contradicts method %s (%s), which has %s; leave the key out", method,
                     giver_of(giver, "method", "the default"),
                     routed ? "several experts and a router" : "one expert, no router and none of its losses");
    for (int i = 1; i < count; i++) {
        gm_buffer_text(&text, i == 1 ? ", and so " : ", ");
        write_key(&text, config, found[i]);
        gm_buffer_format(&text, " (%s)", giver_of(giver, found[i], "defaults"));
    }
    gm_buffer_format(&text, ", or take method %s", routed ? "lora" : "gmoe");
    gm_status status = gm_buffer_status(&text);
    if (status == GM_OK) status = gm_error(GM_USAGE, "%s", gm_buffer_string(&text));
    gm_buffer_free(&text);
    return status;
}
