//! How a thread that sleeps is woken by those who bring it work, at no system call while it is awake.
//!
//! ```text
//!  sleeper                                   everybody else
//!    word = next odd number                    publish the work
//!    fence                                     fence
//!    look for work once more                   an odd word that was not rung for?  ring: one write to an own eventfd
//!    none: sleep on all eventfds
//!    word = next even number
//! ```
//!
//! Of the two fences one comes first: either the sleeper's last look sees the work, or the other sees that it parks.
//! Every sleep has a number of its own, so that a burst rings once for it: a second ring could only repeat the first.
//! The eventfds are watched edge-triggered and never read, so a peer that changes its descriptor's flags or drains it
//! stops nobody's thread: it silences its own bell, and is served when the sleep ends by itself.

use crate::atomic::{Ordering, fence};
use crate::view::{ReadWord, WriteWord};

/// The word that says whether a thread sleeps; written by that thread alone.
#[derive(Debug)]
pub struct Parked(WriteWord);

impl Parked {
    /// Wraps the word.
    #[must_use]
    pub fn new(word: WriteWord) -> Self {
        Self(word)
    }

    /// Says that the thread is about to sleep. It must look for work once more between this and its sleep.
    pub fn announce(&self) {
        self.0.set(self.0.get().wrapping_add(1) | 1);
        fence(Ordering::SeqCst);
    }

    /// Says that it is awake.
    pub fn retract(&self) {
        self.0.set(self.0.get().wrapping_add(1) & !1);
    }

    /// What the others look at.
    #[must_use]
    pub fn view(&self) -> ParkedView {
        ParkedView::new(self.0.reader())
    }
}

/// The same word as one of the others sees it.
#[derive(Debug)]
pub struct ParkedView {
    word: ReadWord,
    /// The last sleep that this one asked to be ended; even: none yet.
    rung_for: u64,
}

impl ParkedView {
    /// Wraps the word.
    #[must_use]
    pub fn new(word: ReadWord) -> Self {
        Self { word, rung_for: 0 }
    }

    /// Whether the caller must now end the thread's sleep, so that it sees what was published before this call. Says
    /// so once for each sleep.
    #[inline]
    #[must_use]
    pub fn must_ring(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let word = self.word.get();
        if word & 1 == 0 || word == self.rung_for {
            return false;
        }
        self.rung_for = word;
        true
    }
}

#[cfg(not(loom))]
pub use system::{Bell, Sleeper};

#[cfg(not(loom))]
mod system {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::Duration;

    use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

    use super::{Parked, ParkedView};

    /// A thread's bed: the word that says whether it sleeps, and every bell that wakes it. One thread sleeps in it;
    /// bells are added and removed from any.
    #[derive(Debug)]
    pub struct Sleeper {
        parked: Parked,
        bells: OwnedFd,
    }

    impl Sleeper {
        /// A bed without bells.
        ///
        /// # Errors
        /// When the system has no descriptor left: raise `ulimit -n`.
        pub fn new(parked: Parked) -> io::Result<Self> {
            Ok(Self { parked, bells: epoll::create(epoll::CreateFlags::CLOEXEC)? })
        }

        /// A new eventfd that ends the sleep whenever it is written to.
        ///
        /// # Errors
        /// When the system has no descriptor left: raise `ulimit -n`.
        pub fn add_bell(&self) -> io::Result<OwnedFd> {
            let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&self.bells, &fd, epoll::EventData::new_u64(0), flags)?;
            Ok(fd)
        }

        /// Takes a bell away again; a peer may still hold it, and rings it in vain.
        pub fn remove_bell(&self, fd: &OwnedFd) {
            // It is watched, or it was never added: nothing else can be refused here.
            let _ = epoll::delete(&self.bells, fd);
        }

        /// A bell for another thread of this process.
        ///
        /// # Errors
        /// As [`Self::add_bell`].
        pub fn bell(&self) -> io::Result<Bell> {
            Ok(Bell::new(self.parked.view(), self.add_bell()?))
        }

        /// Says that the thread is about to sleep; it must look for work once more before [`Self::sleep`].
        pub fn announce(&self) {
            self.parked.announce();
        }

        /// Says that the thread found work and stays awake.
        pub fn stay_awake(&self) {
            self.parked.retract();
        }

        /// Sleeps until a bell rings, at most `at_most`; then says that the thread is awake. Whether a bell rang.
        pub fn sleep(&self, at_most: Duration) -> bool {
            let mut rung =
                [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 8];
            let limit = Timespec {
                tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(at_most.subsec_nanos()),
            };
            let woken = epoll::wait(&self.bells, &mut rung[..], Some(&limit));
            self.parked.retract();
            matches!(woken, Ok(count) if count > 0)
        }
    }

    /// What wakes a [`Sleeper`] of this or another process.
    #[derive(Debug)]
    pub struct Bell {
        parked: ParkedView,
        fd: OwnedFd,
        rung: u64,
    }

    impl Bell {
        /// From the sleeper's word and one of its eventfds.
        #[must_use]
        pub fn new(parked: ParkedView, fd: OwnedFd) -> Self {
            Self { parked, fd, rung: 0 }
        }

        /// Call after work was published: wakes the sleeper if it sleeps, and calls the kernel only then.
        #[inline]
        pub fn ring_if_parked(&mut self) {
            if self.parked.must_ring() {
                self.ring();
            }
        }

        /// How often this bell had to be rung.
        #[must_use]
        pub fn times_rung(&self) -> u64 {
            self.rung
        }

        #[cold]
        fn ring(&mut self) {
            self.rung += 1;
            // Full can only be a bell that was rung 2^64 times; then the sleep ends by itself.
            let _ = rustix::io::write(self.fd.as_fd(), &1u64.to_ne_bytes());
        }
    }
}
