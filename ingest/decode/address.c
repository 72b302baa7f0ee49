#include "ingest/decode/address.h"
#include "ingest/decode/keccak.h"
#include "ingest/decode/number.h"

void address_format(const unsigned char address[ADDRESS_SIZE], char text[ADDRESS_TEXT_SIZE + 1])
{
        unsigned char digest[KECCAK256_SIZE];
        char *digits = text + 2;

        number_write_hex(address, ADDRESS_SIZE, text);
        keccak256(digits, (size_t)ADDRESS_SIZE * 2, digest);
        for (size_t i = 0; i < (size_t)ADDRESS_SIZE * 2; i++) {
                unsigned nibble = i % 2 ? digest[i / 2] & 0xfU : digest[i / 2] >> 4;

                if (nibble >= 8 && digits[i] >= 'a')
                        digits[i] = (char)(digits[i] - 'a' + 'A');
        }
}
