//! The journal under faults.
