//! The mark's text, and what it does with what is none.

use super::mark::Mark;

#[test]
fn a_mark_reads_back_and_anything_else_begins_at_the_first_record() {
    let mark = Mark { next: 812, epoch: 3 };
    assert_eq!(Mark::read(Some(mark.write().as_bytes())), mark);
    let first = Mark { next: 1, epoch: 0 };
    for none in [None, Some(&b""[..]), Some(b"2 812 3"), Some(b"1 812"), Some(b"1 x 3"), Some(b"\xff")] {
        assert_eq!(Mark::read(none), first, "{none:?}");
    }
}
