#include "cli/options.h"

#include "backend/backend.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <cjson/cJSON.h>
#include <dnnl.h>
#include <pcre2.h>
#include <utf8proc.h>
#include <zlib.h>

void gm_version_write(gm_buffer *out, const char *program) {
    char pcre2[64] = "";
    const dnnl_version_t *dnnl = dnnl_version();
    pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    gm_buffer_format(out, "%s %s\nbackends: cpu%s\nlibraries: oneDNN %d.%d.%d, cJSON %s, zlib %s, PCRE2 %s, utf8proc %s\n", program,
                     GMOE_VERSION, gm_backend_has_cuda() ? ", cuda" : "", dnnl->major, dnnl->minor, dnnl->patch, cJSON_Version(),
                     zlibVersion(), pcre2, utf8proc_version());
}
