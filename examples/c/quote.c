/* A strategy in C: asks for one bid below the market, hears the answer, cancels it, and survives the gate's death.
 *
 *   cargo build --release -p ringfence-c
 *   cc -I ipc/include examples/c/quote.c -L target/release -lringfence_c -o quote
 *   LD_LIBRARY_PATH=target/release ./quote /dev/shm/ringfence-.../core.sock BTCUSDT [rounds]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ringfence.h"

static void nap(void) {
  struct timespec fifty_us = {0, 50000};
  nanosleep(&fifty_us, NULL);
}

static int failed(const char *what, int32_t code) {
  fprintf(stderr, "%s: %d: %s\n", what, (int)code, rf_last_error());
  return EXIT_FAILURE;
}

/* Polls until the answer to `position` came; reports on the way are printed. 0, or an error. */
static int32_t await_decision(rf_client client, uint64_t position, rf_decision *decision) {
  for (;;) {
    rf_event event;
    int32_t got = rf_poll(client, &event);
    if (got < 0) return got;
    if (got == RF_OK) {
      nap();
      continue;
    }
    switch (event.kind) {
      case RF_EVENT_DECISION:
        if (event.body.decision.position == position) {
          *decision = event.body.decision;
          return RF_OK;
        }
        break;
      case RF_EVENT_REPORT:
        printf("order %" PRIu64 ": state %u, %" PRId64 " left\n", event.body.report.order_id,
               (unsigned)event.body.report.state, event.body.report.leaves_qty);
        break;
      case RF_EVENT_LOST:
        /* What is unanswered is answered after the gate is back, under the same position. */
        printf("the gate is gone: resuming\n");
        got = rf_resume(client, 30000);
        if (got < 0) return got;
        break;
      default:
        break;
    }
  }
}

/* Submits, waiting for room, and waits for the answer. */
static int32_t ask(rf_client client, const rf_intent *intent, rf_decision *decision) {
  uint64_t position = 0;
  int32_t code;
  while ((code = rf_submit(client, intent, &position)) == RF_ERR_FULL || code == RF_ERR_LOST) {
    rf_event event;
    if (rf_poll(client, &event) == RF_EVENT && event.kind == RF_EVENT_LOST) rf_resume(client, 30000);
    nap();
  }
  return code < 0 ? code : await_decision(client, position, decision);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: %s SOCKET SYMBOL [ROUNDS]\n", argv[0]);
    return EXIT_FAILURE;
  }
  long rounds = argc > 3 ? strtol(argv[3], NULL, 10) : 1;
  rf_options options = {
      .struct_size = sizeof options, .role = RF_ROLE_STRATEGY, .socket_path = argv[1], .name = "c-quote"};
  rf_client client = 0;
  int32_t code = rf_attach(&options, &client);
  if (code < 0) return failed("attach", code);

  rf_symbol_info symbol;
  if ((code = rf_symbol(client, argv[2], &symbol)) < 0) return failed("symbol", code);
  uint64_t start_ns = 0;
  rf_now_ns(client, &start_ns);

  for (long round = 0; round < rounds; round++) {
    uint64_t now_ns = 0;
    rf_now_ns(client, &now_ns);
    rf_market_view market;
    /* Without a market yet any price will do: the gate's collar decides. */
    int64_t price = rf_market(client, symbol.id, &market) == RF_OK ? market.bid_price - symbol.tick : symbol.tick;
    rf_intent bid = {.key_low = (uint64_t)round * 2 + 1,
                     .key_high = start_ns, /* keys never repeat, across runs either */
                     .price = price,
                     .qty = symbol.lot,
                     .client_ts_ns = now_ns,
                     .symbol = symbol.id,
                     .kind = RF_NEW,
                     .side = RF_BUY,
                     .order_type = RF_LIMIT,
                     .tif = RF_GTC};
    rf_decision decision;
    if ((code = ask(client, &bid, &decision)) < 0) return failed("bid", code);
    if (!decision.accepted) {
      char reason[64];
      rf_reason_name(decision.reason, reason, sizeof reason);
      printf("rejected: %s, observed %" PRId64 ", limit %" PRId64 "\n", reason, decision.observed, decision.limit);
      continue;
    }
    printf("accepted: order %" PRIu64 " at journal position %" PRIu64 "\n", decision.order_id, decision.journal_seq);
    rf_intent cancel = {.key_low = bid.key_low + 1,
                        .key_high = start_ns,
                        .client_ts_ns = now_ns,
                        .ttl_ns_or_target = decision.order_id,
                        .symbol = symbol.id,
                        .kind = RF_CANCEL};
    if ((code = ask(client, &cancel, &decision)) < 0) return failed("cancel", code);
    printf("cancel %s\n", decision.accepted ? "accepted" : "rejected");
  }
  if ((code = rf_detach(client)) < 0) return failed("detach", code);
  return EXIT_SUCCESS;
}
