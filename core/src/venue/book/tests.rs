use super::*;

const BUY: Side = Side::Buy;
const SELL: Side = Side::Sell;

fn quote(bid_price: i64, bid_qty: i64, ask_price: i64, ask_qty: i64) -> Quote {
    Quote { symbol: 0, event: 1, ts_ns: 1, bid_price, bid_qty, ask_price, ask_qty }
}

fn batch(event: u64, levels: &[(Side, i64, i64)], snapshot: bool) -> Vec<DepthDelta> {
    let level = |&(side, price, qty): &(Side, i64, i64)| Level { side, price, qty };
    let pairs: Vec<_> = levels.chunks(2).collect();
    let count = pairs.len().max(1);
    (0..count)
        .map(|i| {
            let pair = pairs.get(i).copied().unwrap_or_default();
            let levels = [pair.first().map(level), pair.get(1).map(level)];
            DepthDelta {
                symbol: 0,
                event,
                ts_ns: 1,
                levels,
                last: i + 1 == count,
                snapshot: snapshot && i == 0,
            }
        })
        .collect()
}

fn apply(book: &mut Book, levels: &[(Side, i64, i64)], snapshot: bool) -> Applied {
    batch(1, levels, snapshot).iter().map(|delta| book.apply_depth(delta)).last().unwrap()
}

fn ladder(book: &Book, side: Side) -> Vec<(i64, i64)> {
    book.levels(side).map(|level| (level.price, level.qty)).collect()
}

fn ten_deep() -> Book {
    let mut book = Book::new();
    apply(
        &mut book,
        &[(BUY, 98, 5), (BUY, 99, 4), (BUY, 97, 6), (SELL, 101, 3), (SELL, 103, 2), (SELL, 102, 9)],
        true,
    );
    book
}

#[test]
fn a_snapshot_replaces_and_sorts() {
    let mut book = ten_deep();
    assert_eq!(ladder(&book, BUY), [(99, 4), (98, 5), (97, 6)]);
    assert_eq!(ladder(&book, SELL), [(101, 3), (102, 9), (103, 2)]);
    apply(&mut book, &[(BUY, 50, 1)], true);
    assert_eq!((ladder(&book, BUY), ladder(&book, SELL)), (vec![(50, 1)], vec![]));
}

#[test]
fn a_batch_is_invisible_until_its_last_message() {
    let mut book = ten_deep();
    let messages = batch(2, &[(BUY, 99, 0), (BUY, 100, 7), (SELL, 101, 0)], false);
    assert_eq!(book.apply_depth(&messages[0]), Applied::Pending);
    assert_eq!(book.best_bid().unwrap().price, 99);
    assert_eq!(book.apply_depth(&messages[1]), Applied::Whole);
    assert_eq!((book.best_bid().unwrap().price, book.best_ask().unwrap().price), (100, 102));
}

#[test]
fn a_batch_that_never_ends_is_dropped_with_the_next_one_and_told() {
    let mut book = ten_deep();
    book.apply_depth(&batch(2, &[(BUY, 99, 0), (BUY, 100, 7), (SELL, 101, 0)], false)[0]);
    assert_eq!(book.apply_depth(&batch(3, &[(BUY, 98, 1)], false)[0]), Applied::Partly);
    assert_eq!(ladder(&book, BUY), [(99, 4), (98, 1), (97, 6)]);
    assert_eq!(book.apply_depth(&batch(4, &[], false)[0]), Applied::Whole);
}

#[test]
fn an_endless_batch_is_bounded() {
    let mut book = ten_deep();
    let levels = [Some(Level { side: BUY, price: 1, qty: 1 }), None];
    let delta = DepthDelta { symbol: 0, event: 9, ts_ns: 1, levels, last: false, snapshot: false };
    for _ in 0..2 * MAX_BATCH_LEVELS {
        assert_eq!(book.apply_depth(&delta), Applied::Pending);
    }
    assert!(book.pending.levels.len() == MAX_BATCH_LEVELS);
    assert_eq!(book.apply_depth(&DepthDelta { last: true, ..delta }), Applied::TooLong);
    assert_eq!(ladder(&book, BUY).len(), 3);
}

#[test]
fn a_quote_sets_the_best_level_and_drops_better_ones() {
    let mut book = ten_deep();
    assert!(book.apply_quote(&quote(97, 8, 102, 1)));
    assert_eq!((ladder(&book, BUY), ladder(&book, SELL)), (vec![(97, 8)], vec![(102, 1), (103, 2)]));
    assert_eq!(
        book.changes(),
        [
            Change { side: BUY, price: 99, old_qty: 4, new_qty: 0 },
            Change { side: BUY, price: 98, old_qty: 5, new_qty: 0 },
            Change { side: BUY, price: 97, old_qty: 6, new_qty: 8 },
            Change { side: SELL, price: 101, old_qty: 3, new_qty: 0 },
            Change { side: SELL, price: 102, old_qty: 9, new_qty: 1 },
        ]
    );
}

#[test]
fn depth_older_than_the_quote_cannot_bring_back_what_the_quote_dropped() {
    let mut book = ten_deep();
    book.apply_quote(&quote(97, 8, 102, 1));
    apply(&mut book, &[(BUY, 99, 4), (BUY, 97, 6), (BUY, 96, 2), (SELL, 97, 1), (SELL, 104, 5)], false);
    assert_eq!(ladder(&book, BUY), [(97, 8), (96, 2)]);
    assert_eq!(ladder(&book, SELL), [(102, 1), (103, 2), (104, 5)]);
    apply(&mut book, &[(BUY, 99, 4), (SELL, 100, 1)], true);
    assert_eq!((ladder(&book, BUY), ladder(&book, SELL)), (vec![(99, 4)], vec![(100, 1)]));
}

#[test]
fn an_empty_side_of_a_quote_empties_the_side() {
    let mut book = ten_deep();
    assert!(book.apply_quote(&quote(0, 0, 102, 1)));
    apply(&mut book, &[(BUY, 90, 4)], false);
    assert_eq!((book.best_bid(), book.best_ask().unwrap().price), (None, 102));
}

#[test]
fn nonsense_changes_nothing() {
    let mut book = ten_deep();
    for bad in [
        quote(101, 1, 101, 1),
        quote(102, 1, 101, 1),
        quote(-1, 1, 5, 1),
        quote(1, -1, 5, 1),
        quote(1, 1, 0, 1),
    ] {
        assert!(!book.apply_quote(&bad));
    }
    assert_eq!(
        apply(&mut book, &[(BUY, 0, 1), (SELL, i64::MIN, 1), (SELL, 101, -1)], false),
        Applied::Partly
    );
    assert_eq!(
        (ladder(&book, BUY), ladder(&book, SELL)),
        (ladder(&ten_deep(), BUY), ladder(&ten_deep(), SELL))
    );
}

#[test]
fn what_is_taken_is_not_offered_again_until_the_level_shows_more() {
    let mut book = ten_deep();
    let mut took = Vec::new();
    assert_eq!(book.take(SELL, Some(102), 7, |price, qty| took.push((price, qty))), 7);
    assert_eq!(took, [(101, 3), (102, 4)]);
    assert_eq!(book.available(SELL, Some(102), 100), 5);
    assert_eq!(book.available(SELL, None, 100), 7);
    book.apply_quote(&quote(99, 4, 101, 2));
    assert_eq!(book.available(SELL, Some(101), 100), 0, "less of what we took is still what we took");
    book.apply_quote(&quote(99, 4, 101, 6));
    assert_eq!(book.available(SELL, Some(101), 100), 4, "what joined is new");
    assert_eq!(book.take(SELL, Some(i64::MIN), 5, |_, _| {}), 0);
    assert_eq!(book.take(BUY, Some(i64::MIN), 5, |_, _| {}), 5);
}

#[test]
fn a_snapshot_tells_changes_only_as_deep_as_it_reaches() {
    let mut book = ten_deep();
    apply(&mut book, &[(BUY, 99, 9), (BUY, 98, 5), (SELL, 102, 9), (SELL, 105, 1)], true);
    assert_eq!(
        book.changes(),
        [
            Change { side: BUY, price: 99, old_qty: 4, new_qty: 9 },
            Change { side: SELL, price: 105, old_qty: 0, new_qty: 1 },
            Change { side: SELL, price: 103, old_qty: 2, new_qty: 0 },
            Change { side: SELL, price: 101, old_qty: 3, new_qty: 0 },
        ]
    );
}

#[test]
fn levels_per_side_are_bounded_and_the_worst_goes() {
    let mut book = Book::new();
    for price in 1..=MAX_LEVELS_PER_SIDE as i64 + 5 {
        apply(&mut book, &[(BUY, price, 1), (SELL, price + 1_000_000, 1)], false);
    }
    assert_eq!(book.levels(BUY).count(), MAX_LEVELS_PER_SIDE);
    assert_eq!(book.levels(BUY).last().unwrap().price, 6);
    assert_eq!(book.levels(SELL).count(), MAX_LEVELS_PER_SIDE);
    assert_eq!(book.levels(SELL).last().unwrap().price, MAX_LEVELS_PER_SIDE as i64 + 1_000_000);
    assert!(book.changes().iter().all(|change| change.side == BUY), "what was not kept did not change");
}
