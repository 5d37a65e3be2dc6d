/* Everything a C program can get wrong with this library short of a wild pointer: each is an error, none is a crash. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringfence.h"

static int wrongs = 0;

static void expect(int line, const char *what, int32_t got, int32_t wanted) {
  if (got == wanted) return;
  wrongs++;
  fprintf(stderr, "line %d: %s is %d, not %d (%s)\n", line, what, (int)got, (int)wanted, rf_last_error());
}

#define EXPECT(call, wanted) expect(__LINE__, #call, (call), (wanted))

static const char *socket_path;

static rf_options options_of(const char *name) {
  rf_options options = {.struct_size = sizeof options, .role = RF_ROLE_STRATEGY, .socket_path = socket_path, .name = name};
  return options;
}

static void wrong_options(void) {
  rf_client client = 7;
  rf_options good = options_of("c-hostile");
  EXPECT(rf_attach(NULL, &client), RF_ERR_ARGUMENT);
  EXPECT((int32_t)client, 0);
  EXPECT(rf_attach(&good, NULL), RF_ERR_ARGUMENT);
  rf_options bad = good;
  bad.struct_size = sizeof bad - 8;
  EXPECT(rf_attach(&bad, &client), RF_ERR_ARGUMENT);
  bad = good;
  bad.role = 2; /* operator: not from C */
  EXPECT(rf_attach(&bad, &client), RF_ERR_ARGUMENT);
  bad = good;
  bad.socket_path = NULL;
  EXPECT(rf_attach(&bad, &client), RF_ERR_ARGUMENT);
  bad = good;
  bad.name = "\xff\xfe";
  EXPECT(rf_attach(&bad, &client), RF_ERR_ARGUMENT);
  bad = good;
  bad.name = "";
  bad.timeout_ms = 200;
  if (rf_attach(&bad, &client) >= 0) expect(__LINE__, "an empty name", 0, -1);
  char *long_text = malloc(5000);
  memset(long_text, 'x', 4999);
  long_text[4999] = 0;
  bad = good;
  bad.name = long_text;
  EXPECT(rf_attach(&bad, &client), RF_ERR_ARGUMENT);
  free(long_text);
  bad = good;
  bad.socket_path = "/nonexistent/core.sock";
  bad.timeout_ms = 50;
  EXPECT(rf_attach(&bad, &client), RF_ERR_NO_GATE);
  if (strstr(rf_last_error(), "/nonexistent") == NULL) expect(__LINE__, "the error names the path", 0, 1);
}

static void wrong_handles(void) {
  rf_client wrong[] = {0, 1, 64, 65, 1000, UINT64_MAX, (9ull << 32) | 1, (77ull << 32) | 3};
  for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) {
    rf_event event;
    rf_intent intent = {.kind = RF_NEW};
    rf_client_info info;
    uint64_t now;
    EXPECT(rf_detach(wrong[at]), RF_ERR_HANDLE);
    EXPECT(rf_submit(wrong[at], &intent, NULL), RF_ERR_HANDLE);
    EXPECT(rf_poll(wrong[at], &event), RF_ERR_HANDLE);
    EXPECT(rf_resume(wrong[at], 0), RF_ERR_HANDLE);
    EXPECT(rf_info(wrong[at], &info), RF_ERR_HANDLE);
    EXPECT(rf_now_ns(wrong[at], &now), RF_ERR_HANDLE);
    EXPECT(rf_market_seen(wrong[at], 1), RF_ERR_HANDLE);
    EXPECT(rf_step_done(wrong[at], 1), RF_ERR_HANDLE);
  }
}

static void wrong_pointers_and_values(rf_client client) {
  static char bytes[512];
  rf_intent intent = {.kind = RF_NEW, .client_ts_ns = 1};
  rf_symbol_info symbol;
  rf_market_view market;
  EXPECT(rf_submit(client, NULL, NULL), RF_ERR_ARGUMENT);
  EXPECT(rf_submit(client, (const rf_intent *)(const void *)(bytes + 1), NULL), RF_ERR_ARGUMENT);
  EXPECT(rf_poll(client, NULL), RF_ERR_ARGUMENT);
  EXPECT(rf_poll(client, (rf_event *)(void *)(bytes + 3)), RF_ERR_ARGUMENT);
  EXPECT(rf_now_ns(client, NULL), RF_ERR_ARGUMENT);
  EXPECT(rf_info(client, NULL), RF_ERR_ARGUMENT);
  EXPECT(rf_symbol(client, NULL, &symbol), RF_ERR_ARGUMENT);
  EXPECT(rf_symbol(client, "BTCUSDT", NULL), RF_ERR_ARGUMENT);
  EXPECT(rf_symbol(client, "NOSUCH", &symbol), RF_ERR_UNKNOWN);
  EXPECT(rf_market(client, 65535, &market), RF_ERR_UNKNOWN);
  intent.kind = 99;
  EXPECT(rf_submit(client, &intent, NULL), RF_ERR_ARGUMENT);
  intent.kind = 4; /* mass cancel: an operator's */
  EXPECT(rf_submit(client, &intent, NULL), RF_ERR_ARGUMENT);
  intent.kind = RF_NEW;
  intent.side = 2;
  EXPECT(rf_submit(client, &intent, NULL), RF_ERR_ARGUMENT);
  intent.side = RF_BUY;
  intent.flags = 0x8000;
  EXPECT(rf_submit(client, &intent, NULL), RF_ERR_ARGUMENT);
  char name[8] = "xxxxxxx";
  EXPECT(rf_reason_name(65535, name, sizeof name), RF_ERR_UNKNOWN);
  EXPECT(rf_reason_name(0, NULL, 8), RF_ERR_ARGUMENT);
  EXPECT(rf_reason_name(0, name, 0), RF_ERR_ARGUMENT);
  EXPECT(rf_reason_name(20, name, 5), RF_OK);
  EXPECT(strcmp(name, "MODE"), 0);
}

static atomic_int rounds_of_two;

static void *poll_much(void *given) {
  rf_client client = *(rf_client *)given;
  for (int n = 0; n < 200000; n++) {
    rf_event event;
    int32_t got = rf_poll(client, &event);
    if (got != RF_OK && got != RF_EVENT && got != RF_ERR_BUSY) expect(__LINE__, "rf_poll of two threads", got, 0);
    atomic_fetch_add(&rounds_of_two, 1);
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc < 2) return EXIT_FAILURE;
  socket_path = argv[1];
  wrong_handles();
  wrong_options();

  rf_client client;
  rf_options options = options_of("c-hostile");
  EXPECT(rf_attach(&options, &client), RF_OK);
  wrong_pointers_and_values(client);
  wrong_handles();

  rf_client twin;
  options.timeout_ms = 100;
  int32_t taken = rf_attach(&options, &twin); /* the name is taken: transient, so the patience runs out */
  if (taken >= 0) expect(__LINE__, "a name that is taken", taken, RF_ERR_NO_GATE);

  pthread_t threads[2];
  for (int at = 0; at < 2; at++) pthread_create(&threads[at], NULL, poll_much, &client);
  for (int at = 0; at < 2; at++) pthread_join(threads[at], NULL);
  EXPECT(atomic_load(&rounds_of_two), 400000);

  EXPECT(rf_detach(client), RF_OK);
  rf_event event;
  EXPECT(rf_detach(client), RF_ERR_HANDLE);
  EXPECT(rf_poll(client, &event), RF_ERR_HANDLE);
  EXPECT(rf_resume(client, 0), RF_ERR_HANDLE);

  /* The place is used again; the old number still means nothing. */
  options = options_of("c-hostile");
  rf_client second;
  EXPECT(rf_attach(&options, &second), RF_OK);
  if (second == client) expect(__LINE__, "a new handle", 0, 1);
  EXPECT(rf_poll(client, &event), RF_ERR_HANDLE);
  EXPECT(rf_detach(second), RF_OK);
  return wrongs == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
