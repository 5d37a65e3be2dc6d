//! Looking inside a run, live or dead: `ringfence top` and `ringfence inspect`.

pub mod inspect;
mod journal;
mod sample;
mod site;
mod text;
pub mod top;
