/* GPT-2's alphabet: the bytes that are visible in Latin-1 are themselves, the other 68 are U+0100 onwards in order. */
#include "io/tokenizer/byte_alphabet.h"

static bool is_itself(unsigned byte) { return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae; }

/* The place among the 68 of a byte that is not itself: 0x00 to 0x20, 0x7f to 0xa0, 0xad. */
static unsigned hidden_rank(unsigned byte) { return byte <= 0x20 ? byte : byte <= 0xa0 ? 0x21 + byte - 0x7f : 0x43; }

uint32_t gm_byte_alphabet_code(unsigned char byte) { return is_itself(byte) ? byte : 0x100 + hidden_rank(byte); }

void gm_byte_alphabet_append(gm_buffer *text, gm_slice bytes) {
    for (size_t i = 0; i < bytes.length; i++) {
        char character[4];
        gm_buffer_append(text, character, (size_t)gm_utf8_encode(character, gm_byte_alphabet_code((unsigned char)bytes.bytes[i])));
    }
}

bool gm_byte_alphabet_byte(uint32_t code, unsigned char *byte) {
    bool shifted = code >= 0x100 && code < 0x144;
    if (!shifted && (code > 0xff || !is_itself(code))) return false;
    unsigned rank = code - 0x100;
    *byte = (unsigned char)(!shifted ? code : rank < 0x21 ? rank : rank < 0x43 ? rank - 0x21 + 0x7f : 0xad);
    return true;
}
