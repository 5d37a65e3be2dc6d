//! The seven steps, one file each.

/// What commit needs from decide and nobody else may see.
#[derive(Clone, Copy, Debug)]
pub struct Plan;
