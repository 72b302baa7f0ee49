/* Addresses as people read them: the mixed-case checksum of EIP-55 (https://eips.ethereum.org/EIPS/eip-55). */
#pragma once

#include "common/base/base.h"

#define ADDRESS_SIZE      20
#define ADDRESS_TEXT_SIZE 42 /* without the NUL */

void address_format(const unsigned char address[ADDRESS_SIZE], char text[ADDRESS_TEXT_SIZE + 1]);
