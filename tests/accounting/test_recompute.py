"""Known journals with known books, and one journal per rule that it breaks."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from books import MAX_PROBLEMS, Books, InputError, Position, Symbol, divide_toward_zero
from recompute import compare, main, show

BTC = Symbol("BTCUSDT", 2, 5, 1)
UNIT = 10**16


class Journal:
    """Writes export lines the way the gate would."""

    def __init__(self):
        self.lines = []
        self.pos = 1
        self.add("boot", 2, epoch=1)
        self.add("symbol", 1, id=0, name="BTCUSDT", price_scale=2, qty_scale=5, tick=1, lot=1, contract_multiplier=1)
        self.add("strategy", 1, id=1, account=0, name="alpha")

    def add(self, kind, slots, **fields):
        self.lines.append({"pos": self.pos, "kind": kind, **fields})
        self.pos += slots
        return self

    def decision(self, order_id, intent="new", side="BUY", qty=100, key=None, **more):
        fields = {
            "strategy": 1, "account": 0, "symbol": 0, "intent": intent, "side": side, "flags": 0, "price": 100,
            "key": f"{key if key is not None else self.pos:032x}", "qty": qty, "outcome": "accepted", "reason": "OK",
            "order_id": order_id,
        }
        return self.add("decision", 2, **(fields | more))

    def reject(self, reason):
        return self.decision(0, outcome="rejected", reason=reason)

    def report(self, order_id, kind, side="BUY", qty=0, price=0, cum=0, leaves=0, trade=0, fee=0, **more):
        fields = {
            "report": kind, "state": "accepted", "order_id": order_id, "strategy": 1, "account": 0, "symbol": 0,
            "side": side, "last_qty": qty, "last_price": price, "cum_qty": cum, "leaves_qty": leaves,
            "trade_id": trade, "fee_e8": fee, "late": False, "venue_ts_ns": 0,
        }
        return self.add("report", 2 if kind == "fill" else 1, **(fields | more))

    def mark(self, bid, ask, last=0):
        return self.add("mark", 1, symbol=0, bid_price=bid, ask_price=ask, last_price=last)

    def close(self):
        return self.add("close", 1, state_hash="ab", market_events=7)

    def text(self):
        return "".join(json.dumps(line) + "\n" for line in self.lines)

    def books(self):
        return Books().read(io.StringIO(self.text()))


def round_trip():
    """Buys 100 at 100.00, sells 40 at 110.00: 60 stay, marked at 105.00."""
    j = Journal()
    j.decision(1).report(1, "accepted", leaves=100)
    j.report(1, "fill", qty=100, price=10000, cum=100, trade=1, fee=7, state="filled")
    j.decision(2, side="SELL", qty=40)
    j.report(2, "fill", side="SELL", qty=40, price=11000, cum=40, trade=2, fee=-2, state="filled")
    j.reject("MAX_ORDER_QTY").mark(10400, 10601).close()
    return j


def summary_of(books):
    row = books.positions[(1, 0)]
    return {
        "market_events": 7, "intents": 3, "accepted": 2, "rejected": {"MAX_ORDER_QTY": 1}, "fills": 2, "duplicates": 0,
        "pnl": show(books.pnl_e16()), "journal_records": len(round_trip().lines), "state_hash": "ab",
        "positions": [{
            "strategy": "alpha", "symbol": "BTCUSDT", "qty": row.qty, "cost": show(row.cost_e16),
            "realised": show(row.realised_e16), "unrealised": show(books.unrealised_e16(1, 0)),
            "fees": show(row.fees_e8, 8),
        }],
    }


class Money(unittest.TestCase):
    def test_division_is_toward_zero_for_every_sign(self):
        for numerator, denominator, quotient in [(7, 2, 3), (-7, 2, -3), (7, -2, -3), (-7, -2, 3), (-6, 3, -2), (0, 5, 0)]:
            self.assertEqual(divide_toward_zero(numerator, denominator), quotient)

    def test_reducing_books_the_closed_share_of_the_cost(self):
        p = Position()
        p.fill(BTC, 1, 3, 10)
        p.fill(BTC, 1, 4, 11)
        cost = BTC.notional_e16(10, 3) + BTC.notional_e16(11, 4)
        p.fill(BTC, -1, 2, 20)
        closed = cost * 2 // 7
        self.assertEqual((p.qty, p.cost_e16), (5, cost - closed))
        self.assertEqual(p.realised_e16, BTC.notional_e16(20, 2) - closed)

    def test_a_short_closed_lower_earns(self):
        p = Position()
        p.fill(BTC, -1, 5, 20)
        self.assertEqual(p.cost_e16, -BTC.notional_e16(20, 5))
        p.fill(BTC, 1, 5, 15)
        self.assertEqual((p.qty, p.cost_e16, p.realised_e16), (0, 0, BTC.notional_e16(5, 5)))

    def test_a_flip_opens_the_rest_at_the_fill_price(self):
        p = Position()
        p.fill(BTC, 1, 5, 10)
        p.fill(BTC, -1, 8, 12)
        self.assertEqual((p.qty, p.cost_e16), (-3, -BTC.notional_e16(12, 3)))
        self.assertEqual(p.realised_e16, BTC.notional_e16(2, 5))

    def test_a_large_position_stays_exact(self):
        p = Position()
        p.fill(BTC, 1, 2**62, 2**40)
        p.fill(BTC, -1, 2**62, 2**40)
        self.assertEqual((p.qty, p.cost_e16, p.realised_e16), (0, 0, 0))

    def test_mark_is_the_floored_mid_or_the_last_price(self):
        self.assertEqual(Journal().mark(10, 13).books().marks, {0: 11})
        self.assertEqual(Journal().mark(0, 13, 12).books().marks, {0: 12})
        self.assertEqual(Journal().mark(10, 13).mark(0, 0, 0).books().marks, {0: 11})


class AgreeingRun(unittest.TestCase):
    def test_books_of_a_round_trip(self):
        books = round_trip().books()
        self.assertEqual(books.problems, [])
        p = books.positions[(1, 0)]
        self.assertEqual((p.qty, p.fees_e8, p.fills), (60, 5, 2))
        self.assertEqual(p.realised_e16, 40 * 10 * UNIT // 10**5)
        self.assertEqual(books.unrealised_e16(1, 0), 60 * 5 * UNIT // 10**5)
        self.assertEqual(compare(books, summary_of(books), "last"), [])

    def test_main_reads_files_and_exits_zero(self):
        with tempfile.TemporaryDirectory() as folder:
            journal, summary = pathlib.Path(folder, "j.jsonl"), pathlib.Path(folder, "s.json")
            journal.write_text(round_trip().text(), encoding="utf-8")
            summary.write_text(json.dumps(summary_of(round_trip().books())), encoding="utf-8")
            self.assertEqual(self.run_main(str(journal), "--summary", str(summary))[0], 0)
            wrong = summary_of(round_trip().books()) | {"fills": 3}
            summary.write_text(json.dumps(wrong), encoding="utf-8")
            code, _, err = self.run_main(str(journal), "--summary", str(summary))
            self.assertEqual(code, 1)
            self.assertIn("DISAGREES: fills: summary says 3, the journal says 2", err)
            summary.write_text("{}", encoding="utf-8")
            self.assertEqual(self.run_main(str(journal), "--summary", str(summary))[0], 2)
            journal.write_text("no json\n", encoding="utf-8")
            self.assertEqual(self.run_main(str(journal))[0], 2)

    @staticmethod
    def run_main(*args):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            return main(list(args)), out.getvalue(), err.getvalue()

    def test_counts_can_span_one_run_or_all(self):
        j = round_trip()
        j.add("boot", 2, epoch=2).decision(5).report(5, "cancelled").close()
        books = j.books()
        self.assertEqual((books.counts("last").accepted, books.counts("all").accepted), (1, 3))
        self.assertEqual(books.positions[(1, 0)].qty, 60)
        self.assertEqual(books.problems, [])

    def test_a_crash_does_not_end_a_run(self):
        j = Journal().decision(1).add("boot", 2, epoch=2).decision(2).close()
        self.assertEqual(j.books().counts("last").accepted, 2)

    def test_force_flat_enters_the_opposite_of_the_position(self):
        j = Journal().decision(1).report(1, "fill", qty=100, price=5, cum=100, trade=1)
        j.decision(2, intent="force_flat", qty=0).report(2, "fill", side="SELL", qty=100, price=5, cum=100, trade=2)
        self.assertEqual(j.books().problems, [])

    def test_a_late_fill_is_booked(self):
        j = Journal().decision(1).report(1, "cancelled", state="cancelled")
        j.report(1, "fill", qty=1, price=5, cum=1, trade=1, late=True, state="cancelled")
        books = j.books()
        self.assertEqual((books.problems, books.positions[(1, 0)].qty), ([], 1))


class DisagreeingSummary(unittest.TestCase):
    def check(self, text, **change):
        books = round_trip().books()
        found = compare(books, summary_of(books) | change, "last")
        self.assertTrue(any(text in line for line in found), found)

    def test_each_number_is_compared(self):
        self.check("accepted: summary says 9", accepted=9, intents=10)
        self.check("rejected BAD_QTY", rejected={"MAX_ORDER_QTY": 1, "BAD_QTY": 1}, intents=4)
        self.check("rejected MAX_ORDER_QTY", rejected={}, intents=2)
        self.check("intents: 9", intents=9)
        self.check("journal_records", journal_records=1)
        self.check("state_hash", state_hash="cd")
        self.check("market_events", market_events=8)
        self.check("pnl", pnl="0")

    def test_each_part_of_a_position_is_compared(self):
        row = summary_of(round_trip().books())["positions"][0]
        for name in ("qty", "cost", "realised", "unrealised", "fees"):
            self.check(f"alpha, BTCUSDT: {name}", positions=[row | {name: "0.00001"}])
        self.check("alpha, BTCUSDT: qty", positions=[])

    def test_transient_rejects_are_not_looked_for_in_the_journal(self):
        books = round_trip().books()
        told = summary_of(books) | {"rejected": {"MAX_ORDER_QTY": 1, "ORDER_RATE": 5}, "intents": 8}
        self.assertEqual(compare(books, told, "last"), [])

    def test_quantities_may_be_decimals_or_scaled(self):
        books = round_trip().books()
        row = summary_of(books)["positions"][0]
        told = summary_of(books) | {"positions": [row | {"qty": "0.00060", "strategy": 1, "symbol": 0}]}
        self.assertEqual(compare(books, told, "last"), [])

    def test_a_journal_without_its_close_is_said(self):
        books = Journal().books()
        told = {"accepted": 0, "fills": 0, "rejected": {}, "journal_records": 3, "pnl": "0", "positions": []}
        self.assertEqual(len(compare(books, told, "last")), 1)

    def test_money_beyond_sixteen_decimals_is_refused(self):
        books = round_trip().books()
        with self.assertRaises(InputError):
            compare(books, summary_of(books) | {"pnl": "0." + "0" * 16 + "1"}, "last")


class BrokenJournal(unittest.TestCase):
    def broken(self, journal, text):
        problems = journal.books().problems
        self.assertTrue(any(text in line for line in problems), problems)

    def test_order_id_given_twice(self):
        self.broken(Journal().decision(1).decision(1), "order id 1 was given before")

    def test_key_accepted_twice(self):
        self.broken(Journal().decision(1, key=5).decision(2, key=5), "was accepted before")

    def test_key_cancelled_before_arrival_is_accepted(self):
        j = Journal().decision(0, intent="cancel", flags=1, price=-1, qty=3).decision(1, key=3 << 64 | 2**64 - 1)
        self.broken(j, "cancelled before it arrived")

    def test_trade_booked_twice(self):
        j = Journal().decision(1).report(1, "fill", qty=1, price=5, cum=1, trade=9)
        self.broken(j.report(1, "fill", qty=1, price=5, cum=2, trade=9), "trade 9 was booked before")

    def test_cumulative_quantity_jumps(self):
        self.broken(Journal().decision(1).report(1, "fill", qty=1, price=5, cum=2, trade=1), "the fills add up to 1")

    def test_fill_beyond_the_order(self):
        self.broken(Journal().decision(1).report(1, "fill", qty=101, price=5, cum=101, trade=1), "has 101 filled")

    def test_leaves_beyond_the_order(self):
        self.broken(Journal().decision(1).report(1, "accepted", leaves=101), "101 left > 100 ordered")

    def test_report_for_an_unknown_order(self):
        self.broken(Journal().report(1, "accepted"), "unknown order 1")

    def test_report_after_the_end(self):
        j = Journal().decision(1).report(1, "expired", state="expired").report(1, "accepted")
        self.broken(j, "which is final")

    def test_report_of_the_other_side(self):
        self.broken(Journal().decision(1).report(1, "accepted", side="SELL"), "names another order")

    def test_cancel_of_an_unknown_order(self):
        self.broken(Journal().decision(7, intent="cancel"), "unknown order 7")

    def test_flatten_when_flat(self):
        self.broken(Journal().decision(1, intent="force_flat"), "already flat")

    def test_transient_reject_in_the_journal(self):
        self.broken(Journal().reject("ORDER_RATE"), "transient reject ORDER_RATE")

    def test_record_missing(self):
        j = Journal().decision(1).decision(2)
        del j.lines[-2]
        self.broken(j, "records are missing")

    def test_strategy_renamed(self):
        self.broken(Journal().add("strategy", 1, id=1, account=0, name="beta"), "becomes `beta`")

    def test_problems_are_bounded(self):
        j = Journal()
        for _ in range(2 * MAX_PROBLEMS):
            j.report(1, "accepted")
        self.assertEqual(len(j.books().problems), MAX_PROBLEMS + 1)

    def test_garbage_is_an_input_error(self):
        for line in ("{}", "[]", '{"pos":1,"kind":"surprise"}', '{"pos":1,"kind":"mark"}', "\x00"):
            with self.assertRaises(InputError):
                Books().read([line])


if __name__ == "__main__":
    unittest.main()
