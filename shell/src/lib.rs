//! placeholder

pub mod feed;
