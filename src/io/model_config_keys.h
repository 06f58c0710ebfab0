/* The table of config.json's keys beside those that model_config.c reads. */
#ifndef GM_IO_MODEL_CONFIG_KEYS_H
#define GM_IO_MODEL_CONFIG_KEYS_H

#include "base/json.h"

typedef enum gm_key_rule {
    GM_KEY_READ,     /* model_config.c reads it                                               */
    GM_KEY_HARMLESS, /* changes no logit, whatever its value                                  */
    GM_KEY_WARN,     /* is not applied: a warning unless it has its neutral value             */
    GM_KEY_REFUSE,   /* would change the result: an error unless it has its neutral value     */
    GM_KEY_UNKNOWN,
} gm_key_rule;

/* The rule for a member of config.json, its neutral value considered: HARMLESS where it has that. */
gm_key_rule gm_model_config_rule(const cJSON *member);

#endif
