#!/usr/bin/env python3
"""Recomputes a run's books from the exported journal alone, and compares them with the run's own summary.

    ringfence journal export | python3 tests/accounting/recompute.py --summary summary.json

Shares no code with the product: what docs/accounting.md says is written here a second time. Only decisions, reports,
marks, symbols, strategies, boots and closes are read. All money is an integer at 16 decimals (fees at 8), exact.
Exits 0 when books, invariants and summary agree; 1 with one line per disagreement; 2 when the input is unreadable.
"""

import argparse
import json
import sys
from decimal import Decimal, InvalidOperation, localcontext

from books import FEE_TO_MONEY, MONEY_DECIMALS, TRANSIENT_REASONS, Books, InputError


def scaled(value, decimals, what):
    """A decimal string or number as an exact integer at `decimals`."""
    with localcontext() as context:
        context.prec = 80
        try:
            exact = Decimal(value).scaleb(decimals)
            if exact != exact.to_integral_value():
                raise InputError(f"summary: {what} `{value}` has more than {decimals} decimals")
            return int(exact)
        except (InvalidOperation, ValueError, TypeError) as error:
            raise InputError(f"summary: {what} `{value}` is not a number") from error


def show(value, decimals=MONEY_DECIMALS):
    sign, value = ("-", -value) if value < 0 else ("", value)
    return f"{sign}{value // 10**decimals}.{value % 10**decimals:0{decimals}d}"


def compare(books, summary, runs):
    """One line per disagreement between the books and the summary."""
    out = []

    def same(what, told, found):
        if told != found:
            out.append(f"{what}: summary says {told}, the journal says {found}")

    counts = books.counts(runs)
    same("accepted", summary["accepted"], counts.accepted)
    same("fills", summary["fills"], books.counts("all").fills)
    same("journal_records", summary["journal_records"], books.counts("all").records)
    told = {code: n for code, n in summary["rejected"].items() if code not in TRANSIENT_REASONS}
    for code in sorted(told.keys() | counts.rejected.keys()):
        same(f"rejected {code}", told.get(code, 0), counts.rejected[code])
    if "intents" in summary and "duplicates" in summary:
        answers = summary["accepted"] + sum(summary["rejected"].values()) + summary["duplicates"]
        if summary["intents"] != answers:
            out.append(f"intents: {summary['intents']}, but accepted + rejected + duplicates = {answers}")
    if books.close is None:
        out.append("the journal does not end with a close record: the gate did not stop in good order")
    else:
        for name in ("state_hash", "market_events"):
            if name in summary and name in books.close:
                same(name, summary[name], books.close[name])
    same("pnl", show(scaled(summary["pnl"], MONEY_DECIMALS, "pnl")), show(books.pnl_e16()))
    compare_positions(books, summary["positions"], same)
    return out


def compare_positions(books, told, same):
    names = {name: number for number, name in books.strategies.items()}
    symbols = {symbol.name: number for number, symbol in books.symbols.items()}

    def resolve(value, table, what):
        if value in table:
            return table[value]
        if isinstance(value, int):
            return value
        raise InputError(f"summary: unknown {what} `{value}`")

    rows = {}
    for row in told:
        at = (resolve(row["strategy"], names, "strategy"), resolve(row["symbol"], symbols, "symbol"))
        if at in rows or at[1] not in books.symbols:
            raise InputError(f"summary: position {at} is there twice or names no symbol")
        rows[at] = row
    for at in sorted(rows.keys() | books.positions.keys()):
        row, found, symbol = rows.get(at, {}), books.position(*at), books.symbols[at[1]]
        where = f"strategy {books.strategies.get(at[0], at[0])}, {symbol.name}"
        qty = row.get("qty", 0)
        # An integer is scaled already; text is a decimal.
        qty = qty if isinstance(qty, int) else scaled(qty, symbol.qty_scale, "qty")
        same(f"{where}: qty (scaled)", qty, found.qty)
        for name, value in (
            ("cost", found.cost_e16),
            ("realised", found.realised_e16),
            ("unrealised", books.unrealised_e16(*at)),
            ("fees", found.fees_e8 * FEE_TO_MONEY),
        ):
            same(f"{where}: {name}", show(scaled(row.get(name, 0), MONEY_DECIMALS, name)), show(value))


def report(books, runs):
    """The recomputed books as JSON, in the summary's own words."""
    counts = books.counts(runs)
    rows = []
    for at, p in sorted(books.positions.items()):
        rows.append({
            "strategy": books.strategies.get(at[0], at[0]), "symbol": books.symbols[at[1]].name, "qty": p.qty,
            "cost": show(p.cost_e16), "realised": show(p.realised_e16),
            "unrealised": show(books.unrealised_e16(*at)), "fees": show(p.fees_e8, 8), "fills": p.fills,
        })
    return {
        "accepted": counts.accepted, "rejected": dict(sorted(counts.rejected.items())), "fills": books.counts("all").fills,
        "journal_records": books.counts("all").records, "pnl": show(books.pnl_e16()), "positions": rows,
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("journal", nargs="?", default="-", help="JSON lines of `ringfence journal export` (- is stdin)")
    parser.add_argument("--summary", help="the JSON that `ringfence up --json` printed; compared when given")
    parser.add_argument("--runs", choices=("last", "all"), default="last", help="what the summary's counts span")
    args = parser.parse_args(argv)
    try:
        if args.journal == "-":
            books = Books().read(sys.stdin)
        else:
            with open(args.journal, encoding="utf-8") as lines:
                books = Books().read(lines)
        problems = list(books.problems)
        if args.summary:
            with open(args.summary, encoding="utf-8") as text:
                problems += compare(books, json.load(text, parse_float=Decimal), args.runs)
        print(json.dumps(report(books, args.runs), indent=2))
    except (InputError, OSError, UnicodeDecodeError) as error:
        print(f"recompute: {error}", file=sys.stderr)
        return 2
    except (KeyError, AttributeError, json.JSONDecodeError) as error:
        print(f"recompute: the summary is incomplete or no JSON: {error!r}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"DISAGREES: {problem}", file=sys.stderr)
    records = books.counts("all").records
    verdict = f"{len(problems)} disagreements" if problems else "everything agrees"
    print(f"recompute: {records} records, {verdict}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
