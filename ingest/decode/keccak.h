/*
 * Keccak-256 as Ethereum uses it: the original submission's padding (0x01), not that of SHA-3 (0x06), which FIPS 202 changed.
 *
 * Our own, since Debian bookworm's libraries (libgcrypt 1.10, OpenSSL 3.0, nettle 3.8) offer the SHA-3 padding only.
 * Source: https://keccak.team/keccak_specs_summary.html; rate 1088 bits, capacity 512, 24 rounds.
 */
#pragma once

#include "common/base/base.h"

#define KECCAK256_SIZE 32

void keccak256(const void *data, size_t size, unsigned char digest[KECCAK256_SIZE]);
