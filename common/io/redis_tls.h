/*
 * TLS to Redis: what redis.c makes its connections safe with. The only user of OpenSSL; built where the distribution has
 * hiredis_ssl (Debian 13; Debian 12 has not).
 *
 * The server's certificate has to come from an authority that is trusted here, to be valid now, and to name the host that is
 * connected to, or its IP address. The files are read for each connection, so that renewed certificates need no restart.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "common/base/base.h"

struct redisContext; /* hiredis' */
struct ssl_st;       /* OpenSSL's SSL */

struct redis_tls_files {
        const char *authorities;       /* PEM; NULL: the system's, which SSL_CERT_FILE and SSL_CERT_DIR replace */
        const char *certificate, *key; /* PEM; NULL: none, for servers that ask for none */
};

#ifdef HAVE_HIREDIS_SSL
/* On a connection that is made and has its time limit. *session lives as long as context. Negative: error says why in words,
 * uncleaned. */
MUST_CHECK int redis_tls_start(struct redisContext *context, const struct redis_tls_files *files, const char *host,
        struct ssl_st **session, char *error, size_t size);
/* Right after a read or write failed: what TLS says of it. False: nothing. */
bool redis_tls_reason(struct ssl_st *session, char *error, size_t size);
#endif
