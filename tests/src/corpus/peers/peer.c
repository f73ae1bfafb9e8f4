/* A client on wolfSSL, for the corpus: `peer-wolfssl OPTION...`; the rest is in the environment. */

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int has(int argc, char **argv, const char *option) {
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], option)) return 1;
    return 0;
}

static int dial(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT")))};
    inet_pton(AF_INET, getenv("IP"), &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) exit(2);
    return fd;
}

static void check(int code, WOLFSSL *ssl, const char *what) {
    if (code == WOLFSSL_SUCCESS) return;
    fprintf(stderr, "%s: error %d (alert or refusal)\n", what, ssl ? wolfSSL_get_error(ssl, code) : code);
    exit(1);
}

int main(int argc, char **argv) {
    wolfSSL_Init();
    int is13 = !strcmp(getenv("VERSION"), "1.3");
    WOLFSSL_CTX *ctx = wolfSSL_CTX_new(is13 ? wolfTLSv1_3_client_method() : wolfTLSv1_2_client_method());
    check(wolfSSL_CTX_load_verify_locations(ctx, getenv("CA"), NULL), NULL, "authority");
    if (getenv("OWN")) {
        check(wolfSSL_CTX_use_certificate_chain_file(ctx, getenv("CERT")), NULL, "certificate");
        check(wolfSSL_CTX_use_PrivateKey_file(ctx, getenv("KEY"), WOLFSSL_FILETYPE_PEM), NULL, "key");
    }
    if (has(argc, argv, "group")) check(wolfSSL_CTX_set_group_messages(ctx), NULL, "group");
    WOLFSSL_SESSION *session = NULL;
    for (int turn = 0; turn < (has(argc, argv, "again") ? 2 : 1); turn++) {
        WOLFSSL *ssl = wolfSSL_new(ctx);
        wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, getenv("SNI"), strlen(getenv("SNI")));
        if (has(argc, argv, "fragment")) check(wolfSSL_UseMaxFragment(ssl, WOLFSSL_MFL_2_9), ssl, "fragment");
        if (has(argc, argv, "post-handshake")) wolfSSL_allow_post_handshake_auth(ssl);
        if (has(argc, argv, "retry")) wolfSSL_NoKeyShares(ssl);
        if (session) check(wolfSSL_set_session(ssl, session), ssl, "session");
        wolfSSL_set_fd(ssl, dial());
        check(wolfSSL_connect(ssl), ssl, "handshake");
        if (has(argc, argv, "key-update")) check(wolfSSL_update_keys(ssl), ssl, "key update");
        const char *ask = "GET / HTTP/1.0\r\n\r\n";
        if (wolfSSL_write(ssl, ask, strlen(ask)) <= 0) check(0, ssl, "write");
        char page[4096];
        int n;
        while ((n = wolfSSL_read(ssl, page, sizeof page)) > 0) fwrite(page, 1, n, stdout);
        session = wolfSSL_get1_session(ssl);
        int reason = wolfSSL_get_error(ssl, n);
        if (reason != WOLFSSL_ERROR_ZERO_RETURN && reason != SOCKET_PEER_CLOSED_E)
            fprintf(stderr, "read: error %d (alert or refusal)\n", reason);
        wolfSSL_shutdown(ssl);
        close(wolfSSL_get_fd(ssl));
        wolfSSL_free(ssl);
    }
    return 0;
}
