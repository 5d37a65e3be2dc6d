//! placeholder

#[cfg(feature = "sim")]
pub mod gate;
#[cfg(feature = "sim")]
pub mod venue;
#[cfg(feature = "io")]
pub mod journal;
