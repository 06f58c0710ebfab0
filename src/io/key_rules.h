/* The keys of configuration files that other programs write: which of them would change a result if they were passed over. */
#ifndef GM_IO_KEY_RULES_H
#define GM_IO_KEY_RULES_H

#include "base/json.h"

typedef enum gm_key_rule {
    GM_KEY_READ,     /* the file's reader takes it                                            */
    GM_KEY_HARMLESS, /* changes no result, whatever its value                                 */
    GM_KEY_WARN,     /* is not applied: a warning unless it has its neutral value             */
    GM_KEY_REFUSE,   /* would change the result: an error unless it has its neutral value     */
} gm_key_rule;

/* null, "", [] and {} are neutral everywhere, and so is false, unless `neutral` is "true"; otherwise `neutral` adds a value:
 * a digit for that number, or a string. */
typedef struct gm_file_key {
    const char *name;
    gm_key_rule rule;
    const char *neutral;
} gm_file_key;

extern const gm_file_key gm_model_config_keys[]; /* of config.json (model_config_keys.c); name NULL at the end */

/* Every member of the object by its rule; keys that the table lacks are warned of, as many as a few, unless their value is
 * neutral. GM_BAD_FILE names the first that is refused. `path` is for messages. */
gm_status gm_key_rules_check(const gm_file_key *keys, const char *path, const cJSON *object);
/* The refusal alone. */
gm_status gm_key_rules_refuse(const gm_file_key *keys, const char *path, const cJSON *object);

#endif
