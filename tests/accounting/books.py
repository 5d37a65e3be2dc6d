"""The books that follow from a journal export, and every rule the journal broke. See recompute.py.

Money is an integer at 16 decimals (`_e16`), fees at 8 (`_e8`), prices and quantities as scaled as the journal has them.
"""

import json
from collections import Counter
from dataclasses import dataclass, field

MONEY_DECIMALS = 16
FEE_TO_MONEY = 10**8

# A journal position counts 64-byte slots; a record's kind says how many it takes.
RECORD_SLOTS = {
    "boot": 2, "symbol": 1, "strategy": 1, "attach": 1, "limit": 1, "control": 1, "mark": 1, "close": 1, "capacity": 1,
    "config": 1,
}
FLAG_BY_KEY = 1
FLAG_OPERATOR = 4

TERMINAL_STATES = {"filled", "cancelled", "rejected", "expired"}
TERMINAL_REPORTS = {"cancelled", "rejected", "expired", "lost_before_send"}

# Counted but never journalled: the summary may hold more of these than the journal, which must hold none.
TRANSIENT_REASONS = {
    "MALFORMED", "ROLE_FORBIDDEN", "UNKNOWN_STRATEGY", "IDEMPOTENCY_CONFLICT", "STALE_KEY", "KEY_REQUIRED",
    "DEDUP_BUSY", "MODE_CANCEL_ONLY", "MODE_REJECT_ALL", "KILLED", "TTL_EXPIRED", "CLOCK_SKEW", "REFERENCE_MISSING",
    "REFERENCE_STALE", "REFERENCE_CROSSED", "ORDER_RATE", "CANCEL_RATE", "OPEN_ORDERS", "VENUE_BUSY", "JOURNAL_FULL",
    "ORDER_TABLE_FULL",
}

# A journal broken everywhere should not print a line per record.
MAX_PROBLEMS = 200


class InputError(Exception):
    """The input is no journal export or no summary."""


def normal(name):
    """`PendingNew`, `PENDING_NEW` and `pending_new` are one name."""
    snake = "".join("_" + c if c.isupper() and i and name[i - 1].islower() else c for i, c in enumerate(name))
    return snake.lower()


def slots_of(record):
    """How many slots the record takes in the journal."""
    kind = record["kind"]
    if kind == "decision":
        return 3 if record["flags"] & FLAG_OPERATOR else 2
    if kind == "report":
        second = ("last_qty", "last_price", "fee_e8", "trade_id", "venue_ts_ns")
        return 2 if any(record[name] for name in second) else 1
    if kind not in RECORD_SLOTS:
        raise InputError(f"position {record['pos']}: unknown record kind `{kind}`")
    return RECORD_SLOTS[kind]


def divide_toward_zero(numerator, denominator):
    """Python's // rounds down; the books round toward zero."""
    quotient = abs(numerator) // abs(denominator)
    return quotient if (numerator < 0) == (denominator < 0) else -quotient


@dataclass
class Symbol:
    name: str
    price_scale: int
    qty_scale: int
    multiplier: int

    def notional_e16(self, price, qty):
        return price * qty * 10 ** (MONEY_DECIMALS - self.price_scale - self.qty_scale) * self.multiplier


@dataclass
class Position:
    """What one strategy holds in one symbol. Cost is signed like the quantity."""

    qty: int = 0
    cost_e16: int = 0
    realised_e16: int = 0
    fees_e8: int = 0
    fills: int = 0

    def fill(self, symbol, sign, qty, price):
        same_side = self.qty == 0 or (self.qty > 0) == (sign > 0)
        closing = 0 if same_side else min(qty, abs(self.qty))
        if closing:
            closed_cost = divide_toward_zero(self.cost_e16 * closing, abs(self.qty))
            self.realised_e16 += -sign * symbol.notional_e16(price, closing) - closed_cost
            self.cost_e16 -= closed_cost
        opening = qty - closing
        self.cost_e16 += sign * symbol.notional_e16(price, opening)
        self.qty += sign * qty

    def unrealised_e16(self, symbol, mark):
        if self.qty == 0 or mark is None:
            return 0
        return symbol.notional_e16(mark, self.qty) - self.cost_e16


@dataclass
class Order:
    strategy: int
    account: int
    symbol: int
    sign: int
    qty: int
    largest_qty: int
    cum: int = 0
    terminal: bool = False


@dataclass
class Counts:
    """What the gate did between two clean stops; a summary speaks of the last such run, crashes included."""

    records: int = 0
    accepted: int = 0
    fills: int = 0
    rejected: Counter = field(default_factory=Counter)

    def add(self, other):
        self.records += other.records
        self.accepted += other.accepted
        self.fills += other.fills
        self.rejected.update(other.rejected)


class Books:
    """Everything that follows from the journal, and every rule it broke."""

    def __init__(self):
        self.symbols = {}
        self.strategies = {}
        self.positions = {}
        self.orders = {}
        self.marks = {}
        self.runs = [Counts()]
        self.close = None
        self.problems = []
        self._keys = {}
        self._reserved_keys = {}
        self._trades = {}
        self._next_pos = None

    def problem(self, text):
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(text)
        elif len(self.problems) == MAX_PROBLEMS:
            self.problems.append("... and more")

    def read(self, lines):
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                self.apply(record)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(f"line {number}: not a journal record ({error!r}): {line[:120].rstrip()}") from error
        return self

    def apply(self, record):
        kind = record["kind"]
        if self._next_pos is not None and record["pos"] != self._next_pos:
            self.problem(f"position {record['pos']}: expected {self._next_pos}: records are missing or repeated")
        self._next_pos = record["pos"] + slots_of(record)
        if kind == "boot" and self.close:
            self.runs.append(Counts())
        self.runs[-1].records += 1
        self.close = record if kind == "close" else None
        handler = getattr(self, f"on_{kind}", None)
        if handler:
            handler(record)

    def on_symbol(self, r):
        self.symbols[r["id"]] = Symbol(r["name"], r["price_scale"], r["qty_scale"], r.get("contract_multiplier", 1))

    def on_strategy(self, r):
        known = self.strategies.setdefault(r["id"], r["name"])
        if known != r["name"]:
            self.problem(f"position {r['pos']}: strategy {r['id']} is `{known}` and becomes `{r['name']}`")

    def on_mark(self, r):
        bid, ask, last = r["bid_price"], r["ask_price"], r["last_price"]
        mark = (bid + ask) // 2 if bid and ask else last
        if mark:
            self.marks[r["symbol"]] = mark

    def on_decision(self, r):
        outcome, reason = normal(r["outcome"]), r["reason"]
        if outcome == "rejected":
            self.runs[-1].rejected[reason] += 1
            if reason in TRANSIENT_REASONS:
                self.problem(f"position {r['pos']}: transient reject {reason} is in the journal")
            return
        if outcome != "accepted" or reason != "OK":
            self.problem(f"position {r['pos']}: outcome `{r['outcome']}` with reason `{reason}`")
            return
        self.runs[-1].accepted += 1
        self._accept_key(r)
        intent = normal(r["intent"])
        if intent == "new":
            self._enter(r, 1 if normal(r["side"]) == "buy" else -1, r["qty"])
        elif intent == "force_flat":
            held = self.position(r["strategy"], r["symbol"]).qty
            if held == 0:
                self.problem(f"position {r['pos']}: flattened a position that is already flat")
            self._enter(r, -1 if held > 0 else 1, abs(held))
        elif intent in ("cancel", "amend") and r["order_id"]:
            self._change(r, intent)

    def _accept_key(self, r):
        key = int(r["key"], 16)
        if key == 0:
            return
        earlier = self._keys.setdefault((r["strategy"], key), r["pos"])
        if earlier != r["pos"]:
            self.problem(f"position {r['pos']}: key {r['key']} was accepted before, at position {earlier}")
        reserved = self._reserved_keys.get((r["strategy"], key))
        if reserved is not None:
            self.problem(f"position {r['pos']}: key {r['key']} was cancelled before it arrived, at position {reserved}")
        if normal(r["intent"]) == "cancel" and r["flags"] & FLAG_BY_KEY and r["order_id"] == 0:
            low, high = r["price"] % 2**64, r["qty"] % 2**64
            self._reserved_keys[(r["strategy"], low | high << 64)] = r["pos"]

    def _enter(self, r, sign, qty):
        order_id = r["order_id"]
        if order_id == 0:
            self.problem(f"position {r['pos']}: accepted without an order id")
        elif order_id in self.orders:
            self.problem(f"position {r['pos']}: order id {order_id} was given before")
        else:
            self.orders[order_id] = Order(r["strategy"], r["account"], r["symbol"], sign, qty, qty)

    def _change(self, r, intent):
        order = self.orders.get(r["order_id"])
        if order is None:
            self.problem(f"position {r['pos']}: {intent} of the unknown order {r['order_id']} was accepted")
        elif order.strategy != r["strategy"]:
            self.problem(f"position {r['pos']}: {intent} of strategy {order.strategy}'s order {r['order_id']}")
        elif order.terminal:
            self.problem(f"position {r['pos']}: {intent} of the finished order {r['order_id']} was accepted")
        elif intent == "amend":
            order.largest_qty = max(order.largest_qty, r["qty"])

    def on_report(self, r):
        order = self.orders.get(r["order_id"])
        if order is None:
            self.problem(f"position {r['pos']}: report for the unknown order {r['order_id']}")
            return
        side = 1 if normal(r["side"]) == "buy" else -1
        told = (r["strategy"], r["account"], r["symbol"], side)
        if told != (order.strategy, order.account, order.symbol, order.sign):
            self.problem(f"position {r['pos']}: report names another order than {r['order_id']}: {told}")
        kind = normal(r["report"])
        if order.terminal and not (kind == "fill" and r["late"]):
            self.problem(f"position {r['pos']}: {kind} for order {r['order_id']}, which is final")
        if kind == "fill":
            self._fill(r, order)
        elif r["last_qty"] or r["fee_e8"]:
            self.problem(f"position {r['pos']}: {kind} carries a fill's quantity or fee")
        if r["cum_qty"] != order.cum:
            self.problem(f"position {r['pos']}: cumulative quantity {r['cum_qty']}, the fills add up to {order.cum}")
            order.cum = r["cum_qty"]
        if r["leaves_qty"] < 0 or order.cum + r["leaves_qty"] > order.largest_qty:
            self.problem(f"position {r['pos']}: {order.cum} filled + {r['leaves_qty']} left > {order.largest_qty} ordered")
        if kind in TERMINAL_REPORTS or normal(r["state"]) in TERMINAL_STATES:
            order.terminal = True

    def _fill(self, r, order):
        earlier = self._trades.setdefault((r["symbol"], r["trade_id"]), r["pos"])
        if earlier != r["pos"]:
            self.problem(f"position {r['pos']}: trade {r['trade_id']} was booked before, at position {earlier}")
        if r["last_qty"] <= 0 or r["last_price"] <= 0:
            self.problem(f"position {r['pos']}: a fill of {r['last_qty']} at {r['last_price']}")
        order.cum += r["last_qty"]
        if order.cum > order.largest_qty:
            self.problem(f"position {r['pos']}: order {r['order_id']} of {order.largest_qty} has {order.cum} filled")
        self.runs[-1].fills += 1
        position = self.position(order.strategy, order.symbol)
        position.fill(self.symbols[order.symbol], order.sign, r["last_qty"], r["last_price"])
        position.fees_e8 += r["fee_e8"]
        position.fills += 1

    def position(self, strategy, symbol):
        return self.positions.setdefault((strategy, symbol), Position())

    def unrealised_e16(self, strategy, symbol):
        return self.position(strategy, symbol).unrealised_e16(self.symbols[symbol], self.marks.get(symbol))

    def pnl_e16(self):
        return sum(
            p.realised_e16 + self.unrealised_e16(*at) - p.fees_e8 * FEE_TO_MONEY for at, p in list(self.positions.items())
        )

    def counts(self, which):
        """Of the `last` run, or of `all`."""
        if which == "last":
            return self.runs[-1]
        total = Counts()
        for run in self.runs:
            total.add(run)
        return total
