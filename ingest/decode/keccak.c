#include "ingest/decode/keccak.h"

#define RATE  136 /* bytes absorbed by each permutation */
#define LANES 25

static const uint64_t round_constants[24] = {0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
        0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088,
        0x0000000080008009, 0x000000008000000a, 0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
        0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a, 0x8000000080008081, 0x8000000000008080,
        0x0000000080000001, 0x8000000080008008};

/* Rho and pi as one cycle over the 24 lanes that move: where the lane goes, and how far it turns. */
static const struct {
        unsigned char lane, turn;
} moves[24] = {{10, 1}, {7, 3}, {11, 6}, {17, 10}, {18, 15}, {3, 21}, {5, 28}, {16, 36}, {8, 45}, {21, 55}, {24, 2}, {4, 14},
        {15, 27}, {23, 41}, {19, 56}, {13, 8}, {12, 25}, {2, 43}, {20, 62}, {14, 18}, {22, 39}, {9, 61}, {6, 20}, {1, 44}};

static inline uint64_t turn_left(uint64_t lane, unsigned bits)
{
        return lane << bits | lane >> (64 - bits);
}

static void permute(uint64_t state[LANES])
{
        for (unsigned round = 0; round < 24; round++) {
                uint64_t parity[5], carried;

                for (unsigned x = 0; x < 5; x++)
                        parity[x] = state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20];
                for (unsigned x = 0; x < 5; x++) {
                        uint64_t mask = parity[(x + 4) % 5] ^ turn_left(parity[(x + 1) % 5], 1);

                        for (unsigned y = 0; y < LANES; y += 5)
                                state[x + y] ^= mask;
                }
                carried = state[1];
                for (unsigned i = 0; i < 24; i++) {
                        uint64_t next = state[moves[i].lane];

                        state[moves[i].lane] = turn_left(carried, moves[i].turn);
                        carried = next;
                }
                for (unsigned y = 0; y < LANES; y += 5) {
                        uint64_t row[5] = {state[y], state[y + 1], state[y + 2], state[y + 3], state[y + 4]};

                        for (unsigned x = 0; x < 5; x++)
                                state[x + y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]);
                }
                state[0] ^= round_constants[round];
        }
}

static inline void absorb(uint64_t state[LANES], size_t at, unsigned char byte)
{
        state[at / 8] ^= (uint64_t)byte << (at % 8 * 8);
}

void keccak256(const void *data, size_t size, unsigned char digest[KECCAK256_SIZE])
{
        const unsigned char *bytes = data;
        uint64_t state[LANES] = {0};
        size_t at = 0;

        for (size_t i = 0; i < size; i++) {
                absorb(state, at++, bytes[i]);
                if (at == RATE) {
                        permute(state);
                        at = 0;
                }
        }
        absorb(state, at, 0x01);
        absorb(state, RATE - 1, 0x80);
        permute(state);
        for (size_t i = 0; i < KECCAK256_SIZE; i++)
                digest[i] = (unsigned char)(state[i / 8] >> (i % 8 * 8));
}
