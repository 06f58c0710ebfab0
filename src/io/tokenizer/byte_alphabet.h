/* The byte-level alphabet: a printable character for each byte, so that bytes can be tokens of a vocabulary. */
#ifndef GM_IO_TOKENIZER_BYTE_ALPHABET_H
#define GM_IO_TOKENIZER_BYTE_ALPHABET_H

#include "io/tokenizer/unicode.h"

uint32_t gm_byte_alphabet_code(unsigned char byte);             /* its character */
void gm_byte_alphabet_append(gm_buffer *text, gm_slice bytes);  /* their spelling */
bool gm_byte_alphabet_byte(uint32_t code, unsigned char *byte); /* false where a character is not of the alphabet */

#endif
