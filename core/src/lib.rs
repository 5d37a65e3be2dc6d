//! placeholder

#[cfg(feature = "sim")]
pub mod gate;
