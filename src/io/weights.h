/* The tensors of a base model by their place in it, whichever file holds them. */
#ifndef GM_IO_WEIGHTS_H
#define GM_IO_WEIGHTS_H

#include "io/model_config.h"
#include "io/safetensors.h"

/* The tensor of a part, or the rows that are this part in a file where several parts are one matrix (config->fused). False: none. */
bool gm_weights_part(gm_file_tensor *tensor, const gm_safetensors *file, const gm_model_config *config, int layer, const char *part);

/* layer -1: outside the layers ("embed_tokens.weight", "norm.weight", "lm_head.weight"); otherwise a part of that layer
 * ("self_attn.q_proj.weight", "input_layernorm.weight" …). NULL: none. Files saved without the prefix "model." are read too. */
const gm_file_tensor *gm_weights_find(const gm_safetensors *file, int layer, const char *part);

/* Everything that config.json implies is there, in that shape, as F32, F16 or BF16. Tensors beyond that are noted in the log. */
gm_status gm_weights_check(const gm_safetensors *file, const gm_model_config *config);

/* Numbers that a model of this configuration consists of, tied ones once. */
uint64_t gm_weights_elements(const gm_model_config *config);

/* Says whether two runs had the same base model: the sum over the tensors of a hash of name, type, shape and all bytes (XXH64,
 * several tensors at once on the threads there are), and the values of gm_model_config. It reads the whole file: 1 GB in 0.19 s a
 * thread where it is in the page cache (5.6 GB/s), else at the disk's speed; what the run then uses in place is there already.
 * Independent of sharding and of config.json's other keys. Kept in adapters and checkpoints: once there is a release, change it only with a
 * new name in state.json. */
uint64_t gm_weights_hash(const gm_safetensors *file, const gm_model_config *config);

#endif
