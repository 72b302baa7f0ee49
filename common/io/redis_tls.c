#include "common/io/redis_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAMES_SHOWN 5 /* of a certificate */

/* What the check of a certificate finds, and where it says so. */
struct verdict {
        const char *host;
        char *error;
        size_t size;
};

AUTO_DEFINE(SSL_CTX *, ssl_context, SSL_CTX_free)

/* ---- the reasons in words: certificates ---- */

static void format_time(const ASN1_TIME *time, char out[32])
{
        struct tm parts = {0};
        if (!ASN1_TIME_to_tm(time, &parts) || !strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &parts))
                snprintf(out, 32, "an unknown time");
}

static void format_name(X509_NAME *name, char *out, size_t size)
{
        if (X509_NAME_get_text_by_NID(name, NID_commonName, out, (int)size) <= 0)
                X509_NAME_oneline(name, out, (int)size);
}

/* A host name or an IP address, else "" */
static void format_alternative(const GENERAL_NAME *name, char out[256])
{
        *out = '\0';
        if (name->type == GEN_DNS)
                snprintf(out, 256, "%.*s", ASN1_STRING_length(name->d.dNSName), ASN1_STRING_get0_data(name->d.dNSName));
        else if (name->type == GEN_IPADD)
                inet_ntop(ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6,
                        ASN1_STRING_get0_data(name->d.iPAddress), out, 256);
}

/* The hosts that a certificate is for; a certificate without any such list shows its common name. */
static void format_hosts(const X509 *certificate, char *out, size_t size)
{
        GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
        size_t used = 0;
        int shown = 0;
        for (int i = 0; i < sk_GENERAL_NAME_num(names) && used < size; i++) {
                char one[256];
                format_alternative(sk_GENERAL_NAME_value(names, i), one);
                if (*one && shown++ < NAMES_SHOWN)
                        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", one);
        }
        if (!shown)
                format_name(X509_get_subject_name(certificate), out, size);
        else if (shown > NAMES_SHOWN && used < size)
                snprintf(out + used, size - used, " and %d more", shown - NAMES_SHOWN);
        GENERAL_NAMES_free(names);
}

static void explain_certificate(const struct verdict *verdict, X509_STORE_CTX *store)
{
        const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
        const char *whose = X509_STORE_CTX_get_error_depth(store) ? "an authority's" : "the server's";
        int code = X509_STORE_CTX_get_error(store);
        char text[300] = "", when[32];
        switch (certificate ? code : X509_V_ERR_UNSPECIFIED) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
                format_time(X509_get0_notAfter(certificate), when);
                snprintf(verdict->error, verdict->size, "%s certificate expired at %s", whose, when);
                break;
        case X509_V_ERR_CERT_NOT_YET_VALID:
                format_time(X509_get0_notBefore(certificate), when);
                snprintf(verdict->error, verdict->size, "%s certificate is not valid before %s", whose, when);
                break;
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
                format_hosts(certificate, text, sizeof(text));
                snprintf(verdict->error, verdict->size, "the server's certificate is for %s, not for %s", text, verdict->host);
                break;
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
                format_name(X509_get_issuer_name(certificate), text, sizeof(text));
                snprintf(verdict->error, verdict->size,
                        "the server's certificate comes from an authority that is not trusted here, %s; set REDIS_CA_FILE", text);
                break;
        default:
                snprintf(verdict->error, verdict->size, "%s certificate is refused: %s", whose,
                        X509_verify_cert_error_string(code));
        }
}

static int judge_certificate(int good, X509_STORE_CTX *store)
{
        const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
        if (!good)
                explain_certificate(SSL_get_app_data(ssl), store);
        return good;
}

/* ---- the reasons in words: alerts, files ---- */

static bool explain_last(char *error, size_t size)
{
        unsigned long code = ERR_peek_last_error();
        const char *reason = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
        ERR_clear_error();
        if (!code)
                return false;
        switch (ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0) {
        case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
                snprintf(error, size,
                        "the server demands a certificate of its clients (%s); set REDIS_CERT_FILE and REDIS_KEY_FILE", reason);
                break;
        case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE: /* TLS 1.2 has no word of its own for it */
                snprintf(error, size,
                        "the server refuses the TLS handshake (%s); if it demands a certificate of its clients, set "
                        "REDIS_CERT_FILE and REDIS_KEY_FILE",
                        reason);
                break;
        case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
        case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
        case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
        case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
                snprintf(error, size, "the server refuses our certificate, REDIS_CERT_FILE: %s", reason);
                break;
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_PACKET_LENGTH_TOO_LONG:
                snprintf(error, size, "the server does not speak TLS at this port (%s)", reason);
                break;
        case SSL_R_UNEXPECTED_EOF_WHILE_READING:
                snprintf(error, size, "the server closed the connection");
                break;
        default:
                snprintf(error, size, "TLS: %s", reason ? reason : "unknown error");
        }
        return true;
}

/* A server that ends the connection says why in its last message, which a write that failed has not read. */
bool redis_tls_reason(struct ssl_st *session, char *error, size_t size)
{
        unsigned long code = ERR_peek_last_error();
        char byte;
        if (ERR_SYSTEM_ERROR(code) && (ERR_GET_REASON(code) == EPIPE || ERR_GET_REASON(code) == ECONNRESET)) {
                ERR_clear_error();
                (void)SSL_read(session, &byte, sizeof(byte));
        }
        return explain_last(error, size);
}

/* The first of the errors: those behind it are its consequences. */
static int fail_file(const char *variable, const char *path, char *error, size_t size)
{
        unsigned long code = ERR_peek_error();
        const char *reason = ERR_reason_error_string(code);
        ERR_clear_error();
        if (ERR_SYSTEM_ERROR(code))
                snprintf(error, size, "%s: '%s': %s", variable, path, strerror(ERR_GET_REASON(code)));
        else if (ERR_GET_LIB(code) == ERR_LIB_X509 && ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH)
                snprintf(error, size, "%s: '%s': it is not the key of REDIS_CERT_FILE", variable, path);
        else
                snprintf(error, size, "%s: '%s': it holds nothing of that kind, as PEM, that can be used: %s", variable, path,
                        reason ? reason : "unknown error");
        return -1;
}

static int fail_handshake(int code, char *error, size_t size)
{
        if (*error) { /* the certificate was judged */
                ERR_clear_error();
                return -1;
        }
        if (explain_last(error, size))
                return -1;
        if (code == EAGAIN || code == EWOULDBLOCK)
                snprintf(error, size, "the server did not answer the TLS handshake in time; does it speak TLS at this port?");
        else
                snprintf(error, size, "the server ended the TLS handshake: %s", strerror(code));
        return -1;
}

/* ---- the connection ---- */

/* An encrypted key fails: nobody is there to type a password. */
static int no_password(char *out, int size, int writing, void *context)
{
        (void)out, (void)size, (void)writing, (void)context;
        return -1;
}

static int load_files(SSL_CTX *tls, const struct redis_tls_files *files, char *error, size_t size)
{
        SSL_CTX_set_default_passwd_cb(tls, no_password);
        if (!files->authorities)
                (void)SSL_CTX_set_default_verify_paths(tls); /* none there: then no authority is trusted, which the check says */
        else if (SSL_CTX_load_verify_file(tls, files->authorities) != 1)
                return fail_file("REDIS_CA_FILE", files->authorities, error, size);
        if (files->certificate && SSL_CTX_use_certificate_chain_file(tls, files->certificate) != 1)
                return fail_file("REDIS_CERT_FILE", files->certificate, error, size);
        if (files->key && SSL_CTX_use_PrivateKey_file(tls, files->key, SSL_FILETYPE_PEM) != 1)
                return fail_file("REDIS_KEY_FILE", files->key, error, size);
        return 0;
}

/* The name is checked, and sent, so that a server with several certificates can choose. An IP address is checked only. */
static bool set_host(SSL *ssl, const char *host)
{
        AUTO(text) char *name = memory_copy(host); /* SSL_set_tlsext_host_name takes no const */
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1 ||
               (SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1);
}

/* A server that closed the connection is told so by OpenSSL: the SIGPIPE of that would end a command, which minds it for its
 * output. */
static int shake_hands(struct redisContext *context, SSL *ssl)
{
        sigset_t broken_pipe, before;
        const struct timespec at_once = {0};
        sigemptyset(&broken_pipe);
        sigaddset(&broken_pipe, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
        errno = 0;
        int r = redisInitiateSSL(context, ssl), seen = errno;
        while (sigtimedwait(&broken_pipe, NULL, &at_once) > 0)
                ;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return r == REDIS_OK ? 0 : seen ? -seen : -EPIPE;
}

int redis_tls_start(struct redisContext *context, const struct redis_tls_files *files, const char *host, struct ssl_st **session,
        char *error, size_t size)
{
        AUTO(ssl_context) SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
        struct verdict verdict = {.host = host, .error = error, .size = size};
        *error = '\0';
        ERR_clear_error();
        if (!tls)
                memory_end();
        (void)SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
        (void)SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION);
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, judge_certificate);
        if (load_files(tls, files, error, size))
                return -1;
        SSL *ssl = SSL_new(tls);
        if (!ssl)
                abort();
        if (!set_host(ssl, host)) {
                SSL_free(ssl);
                snprintf(error, size, "no certificate can be for the host %s", host);
                return -1;
        }
        SSL_set_app_data(ssl, &verdict);
        int r = shake_hands(context, ssl);
        SSL_set_app_data(ssl, NULL);
        if (!r) {
                *session = ssl; /* the context frees it */
                return 0;
        }
        SSL_free(ssl);
        return fail_handshake(-r, error, size);
}
