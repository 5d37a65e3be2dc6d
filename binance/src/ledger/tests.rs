//! The ledger on its own: orders, answers and events by hand.
