#ifndef MARTLET_COPENSSL_SHIM_H
#define MARTLET_COPENSSL_SHIM_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/core_names.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

// OpenSSL has these as macros, which Swift does not see. Each is one of them, and nothing else.

static const unsigned long COPENSSL_NAME_RFC2253 = XN_FLAG_RFC2253;
static const uint64_t COPENSSL_NO_COMPRESSION = SSL_OP_NO_COMPRESSION;
static const uint64_t COPENSSL_NO_RENEGOTIATION = SSL_OP_NO_RENEGOTIATION;
static const uint64_t COPENSSL_PRIORITIZE_CHACHA = SSL_OP_PRIORITIZE_CHACHA;
static const uint64_t COPENSSL_CIPHER_SERVER_PREFERENCE = SSL_OP_CIPHER_SERVER_PREFERENCE;
static const uint64_t COPENSSL_NO_TICKET = SSL_OP_NO_TICKET;

static inline long copenssl_ctx_set_mode(SSL_CTX *ctx, long mode) { return SSL_CTX_set_mode(ctx, mode); }
static inline int copenssl_ctx_set_min_version(SSL_CTX *ctx, int version) {
  return (int)SSL_CTX_set_min_proto_version(ctx, version);
}
static inline int copenssl_ctx_set_max_version(SSL_CTX *ctx, int version) {
  return (int)SSL_CTX_set_max_proto_version(ctx, version);
}
static inline int copenssl_ctx_set_groups(SSL_CTX *ctx, const char *list) {
  return (int)SSL_CTX_set1_groups_list(ctx, list);
}
static inline int copenssl_ctx_set_sigalgs(SSL_CTX *ctx, const char *list) {
  return (int)SSL_CTX_set1_sigalgs_list(ctx, list);
}
static inline long copenssl_ctx_set_session_cache_mode(SSL_CTX *ctx, long mode) {
  return SSL_CTX_set_session_cache_mode(ctx, mode);
}
static inline long copenssl_ctx_set_session_cache_size(SSL_CTX *ctx, long size) {
  return SSL_CTX_sess_set_cache_size(ctx, size);
}
static inline int copenssl_ctx_add_chain(SSL_CTX *ctx, X509 *certificate) {
  return (int)SSL_CTX_add1_chain_cert(ctx, certificate);
}
static inline int copenssl_set_host_name(SSL *ssl, const char *name) {
  return (int)SSL_set_tlsext_host_name(ssl, name);
}
static inline int copenssl_groups(SSL *ssl, int *groups) { return (int)SSL_get1_groups(ssl, groups); }
static inline int copenssl_negotiated_group(SSL *ssl) { return (int)SSL_get_negotiated_group(ssl); }
static inline int copenssl_signature(SSL *ssl, int *nid) { return (int)SSL_get_signature_nid(ssl, nid); }
static inline int copenssl_peer_signature(SSL *ssl, int *nid) { return (int)SSL_get_peer_signature_nid(ssl, nid); }
static inline int copenssl_error_reason(unsigned long error) { return ERR_GET_REASON(error); }
static inline int copenssl_error_library(unsigned long error) { return ERR_GET_LIB(error); }
static inline void copenssl_retry_read(BIO *bio) { BIO_set_retry_read(bio); }
static inline void copenssl_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }
static inline int copenssl_certificate_count(const STACK_OF(X509) *chain) { return sk_X509_num(chain); }
static inline X509 *copenssl_certificate_at(const STACK_OF(X509) *chain, int index) {
  return sk_X509_value(chain, index);
}
static inline STACK_OF(X509) *copenssl_new_chain(void) { return sk_X509_new_null(); }
static inline int copenssl_chain_push(STACK_OF(X509) *chain, X509 *certificate) {
  return sk_X509_push(chain, certificate);
}
static inline void copenssl_free_chain(STACK_OF(X509) *chain) { sk_X509_free(chain); }
static inline int copenssl_name_count(const STACK_OF(X509_NAME) *names) { return sk_X509_NAME_num(names); }
static inline STACK_OF(X509_NAME) *copenssl_new_names(void) { return sk_X509_NAME_new_null(); }
static inline int copenssl_names_push(STACK_OF(X509_NAME) *names, X509_NAME *name) {
  return sk_X509_NAME_push(names, name);
}
static inline int copenssl_general_name_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }
static inline GENERAL_NAME *copenssl_general_name_at(const GENERAL_NAMES *names, int index) {
  return sk_GENERAL_NAME_value(names, index);
}
static inline int copenssl_cipher_count(const STACK_OF(SSL_CIPHER) *ciphers) { return sk_SSL_CIPHER_num(ciphers); }
static inline const SSL_CIPHER *copenssl_cipher_at(const STACK_OF(SSL_CIPHER) *ciphers, int index) {
  return sk_SSL_CIPHER_value(ciphers, index);
}
static inline long copenssl_bio_bytes(BIO *bio, char **bytes) { return BIO_get_mem_data(bio, bytes); }

#endif
