//! How far the journal is published.

use ringfence_ipc::journal::FIRST_POSITION;

const VERSION: &str = "1";

/// Everything below `next` is in the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Position of the next record.
    pub next: u64,
    /// The gate's life that wrote the record before it. A later life that begins below `next` has taken back what a loss
    /// of power took from the disk.
    pub epoch: u16,
}

impl Mark {
    /// Of a writer that has published nothing, or of what it left. Text that is no mark counts as none: nobody but
    /// [`Self::write`] writes under the writer's name.
    pub fn read(text: Option<&[u8]>) -> Self {
        let read = |text: &str| {
            let mut words = text.split(' ');
            let known = words.next()? == VERSION;
            let (next, epoch) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            known.then_some(Self { next, epoch })
        };
        let found = text.and_then(|text| read(std::str::from_utf8(text).ok()?));
        found.unwrap_or(Self { next: FIRST_POSITION, epoch: 0 })
    }

    /// As the writer keeps it: `version next epoch`.
    pub fn write(self) -> String {
        format!("{VERSION} {} {}", self.next, self.epoch)
    }
}
