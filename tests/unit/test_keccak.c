/* Vectors: well-known ones, pycryptodome's keccak for the block edges, and EIP-55's own examples. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "ingest/decode/address.h"
#include "ingest/decode/keccak.h"
#include "ingest/decode/number.h"

static void check(const void *data, size_t size, const char *expected)
{
        unsigned char digest[KECCAK256_SIZE];
        char text[2 * KECCAK256_SIZE + 3];

        keccak256(data, size, digest);
        number_write_hex(digest, sizeof(digest), text);
        assert_string_equal(text + 2, expected);
}

static void published(void **state)
{
        (void)state;
        check("", 0, "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
        check("abc", 3, "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
        check("The quick brown fox jumps over the lazy dog", 43,
                "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15");
        /* ERC-20's best known topic */
        check("Transfer(address,address,uint256)", 33, "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
}

/* Byte i is i * 7 + 3. The rate is 136 bytes: one less, all, one more, and the same a block later. */
static void block_edges(void **state)
{
        static const struct {
                size_t size;
                const char *digest;
        } vectors[] = {
                {1, "69c322e3248a5dfc29d73c5b0553b0185a35cd5bb6386747517ef7e53b15e287"},
                {8, "ad894215c2106b9dfa2c04022025509974a5eb20b9f4cd27ca716967542ecf6e"},
                {64, "0251cf13aa5b18f1cbda7cddbe85f3dc536fc93df590c2d20ca9b28af1ed2c39"},
                {134, "0c00ddc2482876f8fa8cc91ed55deedf61049892967f383560faf8a5787f86c5"},
                {135, "00ef96af9cf4b24c7f269d922294444a197d0a33638c2e56634c57e892103a8f"},
                {136, "742061bcad767ed4c4f5883b1dcb1aad11afdcc140dc469d953759b127b9f9ed"},
                {137, "e3371f61e770abf254c34239c3b0099ad90594507415bc81dd0a10b9692bbf2a"},
                {199, "f870a0cc67e788770c11254b75dbedec62a22be67ef18d63e52ed26689ea705b"},
                {200, "66d2cdf3ab4c5bd3c75add9b60b14ac5b7789534fa2da3f348853b847359a3a0"},
                {271, "4401c4afbe16ff911bdbf2d38e556e5b861f3fdf0f9d4306b1c46f6ae4f73584"},
                {272, "ac141fd7b0a0ffcd2e967254d508da3ec616596493c36fa304425647d90e6de5"},
                {273, "16192ea86793083e47731cb3c970600f04768414d92bc0540e54ce8607a0fce0"},
                {1000, "80cdc8dd52cbb3dbaea8f383209893fa2bb52efbd5aedbb4b26dcfe307fcdc9b"},
        };
        unsigned char data[1000];

        (void)state;
        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (unsigned char)(i * 7 + 3);
        for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++)
                check(data, vectors[i].size, vectors[i].digest);
}

static void eip55(void **state)
{
        static const char *const addresses[] = {"0x52908400098527886E0F7030069857D2E4169EE7",
                "0x8617E340B3D01FA5F11F306F4090FD50E238070D", "0xde709f2102306220921060314715629080e2fb77",
                "0x27b1fdb04752bbc536007a920d24acb045561c26", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
                "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359", "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
                "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb", "0x0000000000000000000000000000000000000000"};

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(addresses); i++) {
                unsigned char bytes[ADDRESS_SIZE + 1];
                char text[ADDRESS_TEXT_SIZE + 1];
                size_t count;

                assert_int_equal(number_read_hex(addresses[i], ADDRESS_TEXT_SIZE, bytes, &count), 0);
                assert_int_equal(count, ADDRESS_SIZE);
                address_format(bytes, text);
                assert_string_equal(text, addresses[i]);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(published),
                cmocka_unit_test(block_edges),
                cmocka_unit_test(eip55),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
