//! Named behaviours of the paper venue.

mod floor;
mod orders;
mod properties;
mod queue;
mod recorded;
