//! The thread that writes: it takes records from the queue, in order, and syncs in groups.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::oneshot;

use super::files::{UNFINISHED, list};
use super::heads::{self, Head, Heads, HeadsFile};
use super::record::{Entry, LogType, Object};
use super::series::{Noticed, Series};
use super::sweep::Wake;
use super::time::DAY_US;
use super::{Message, Queued, Shared};

/// Records taken from the queue at once.
const BURST: usize = 256;
/// How often the day, the free space and a failed write are looked at again.
const TICK: Duration = Duration::from_millis(500);

/// What writes.
pub struct Writer {
    shared: Arc<Shared>,
    sweep: Sender<Wake>,
    series: [Series; 5],
    heads: HeadsFile,
    /// Records in order, not yet written; they keep their places.
    waiting: VecDeque<Box<Queued>>,
    /// What was said about the series at start, to be recorded before anything else.
    notices: VecDeque<Entry>,
    /// Told after the next write.
    readers: Vec<Sender<()>>,
    /// Told at the next sync.
    asked: Vec<oneshot::Sender<()>>,
    /// When the oldest record that is not synced was written.
    dirty_since: Option<Instant>,
    /// A sync has failed: what the kernel holds cannot be known any more.
    lost: Option<String>,
}

impl Writer {
    /// Opens every series.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub fn open(shared: Arc<Shared>, sweep: Sender<Wake>) -> io::Result<Self> {
        let (dir, today) = (&shared.options.dir, shared.now_us() / DAY_US);
        remove_unfinished(dir)?;
        let files = list(dir)?;
        let mut notices = VecDeque::new();
        let known = match heads::read(dir) {
            Ok(None) if !files.is_empty() => Err("it is missing".to_owned()),
            Ok(known) => Ok(known.unwrap_or([Head::NONE; 5])),
            Err(error) => Err(error.to_string()),
        };
        let known = known.unwrap_or_else(|why| {
            let noticed = Noticed::Broken { file: heads::NAME.into(), line: 1, why };
            notices.push_back(notice(&shared, LogType::Error, noticed));
            [Head::NONE; 5]
        });
        let mut resume = |log_type: LogType| {
            let (series, noticed) = Series::resume(dir, log_type, &files, &known[log_type.index()], today)?;
            if let Some(noticed) = noticed {
                notices.push_back(notice(&shared, log_type, noticed));
            }
            shared.first_open[log_type.index()].store(series.first_open(), Ordering::Release);
            io::Result::Ok(series)
        };
        let [auth, order, api_key, access, error] = LogType::ALL;
        let series = [resume(auth)?, resume(order)?, resume(api_key)?, resume(access)?, resume(error)?];
        let heads = HeadsFile::open(dir)?;
        heads.write(&ends(&series))?;
        Ok(Self {
            shared,
            sweep,
            series,
            heads,
            waiting: VecDeque::new(),
            notices,
            readers: Vec::new(),
            asked: Vec::new(),
            dirty_since: None,
            lost: None,
        })
    }

    /// Writes until it is told to stop.
    pub fn run(mut self, queue: &Receiver<Message>) {
        let mut next_tick = Instant::now();
        loop {
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + TICK;
            }
            let deadline = self.sync_at().map_or(next_tick, |at| at.min(next_tick));
            let stop = match queue.recv_deadline(deadline) {
                Ok(message) => self.take_burst(message, queue),
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            self.write();
            for reader in self.readers.drain(..) {
                // One that waits no longer reads what is there.
                let _ = reader.try_send(());
            }
            if stop || !self.asked.is_empty() || self.sync_at().is_some_and(|at| Instant::now() >= at) {
                self.sync();
            }
            if stop {
                break;
            }
        }
        if !self.waiting.is_empty() {
            tracing::error!(records = self.waiting.len(), "the audit log ends without its last records");
        }
        // Nothing that anybody must act on.
        self.shared.set_failing(Some("the shell is stopping".into()));
    }

    /// Whether the last message was among them.
    fn take_burst(&mut self, first: Message, queue: &Receiver<Message>) -> bool {
        let mut stop = self.take(first);
        for _ in 1..BURST {
            let Ok(message) = queue.try_recv() else { break };
            stop |= self.take(message);
        }
        stop
    }

    /// Whether that was the last message.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Record(queued) => self.waiting.push_back(queued),
            Message::Settle(asks) => self.readers.push(asks),
            Message::Stop => return true,
        }
        false
    }

    fn sync_at(&self) -> Option<Instant> {
        self.dirty_since.map(|since| since + self.shared.options.sync_interval)
    }

    /// Writes what waits, up to the first failure.
    fn write(&mut self) {
        if self.lost.is_some() {
            return;
        }
        while let Some(first) = self.notices.front().or_else(|| Some(&self.waiting.front()?.entry)) {
            let (log_type, index) = (first.log_type, first.log_type.index());
            let series = &mut self.series[index];
            let before = series.first_open();
            let (now_us, max_bytes) = (|| self.shared.now_us(), self.shared.options.max_file_bytes);
            let wrote = if let Some(notice) = self.notices.front() {
                series.append([notice], now_us, max_bytes)
            } else {
                let run = self.waiting.iter().map(|queued| &queued.entry);
                series.append(
                    run.take(BURST).take_while(|entry| entry.log_type == log_type),
                    now_us,
                    max_bytes,
                )
            };
            let first_open = series.first_open();
            self.shared.first_open[index].store(first_open, Ordering::Release);
            if before != first_open {
                let _ = self.sweep.try_send(Wake::Sweep);
            }
            let count = match wrote {
                Ok(count) => count,
                Err(error) if series.is_lost() => return self.lose(&error),
                Err(error) => return self.shared.tell_failing(Some(error.to_string())),
            };
            self.dirty_since.get_or_insert_with(Instant::now);
            self.shared.written[index].fetch_add(count as u64, Ordering::Relaxed);
            if self.notices.pop_front().is_none() {
                self.asked.extend(self.waiting.drain(..count).filter_map(|queued| queued.on_disk));
            }
        }
    }

    fn sync(&mut self) {
        if self.lost.is_some() {
            return;
        }
        let synced = self.series.iter_mut().filter(|series| series.is_dirty()).try_for_each(Series::sync);
        if let Err(error) = synced {
            return self.lose(&error);
        }
        if let Err(error) = self.heads.write(&ends(&self.series)) {
            // The records are on disk; what is missing is only what a cut file is found by.
            tracing::warn!(%error, "the audit log's heads cannot be written");
        }
        self.dirty_since = None;
        self.shared.synced_us.store(self.shared.now_us(), Ordering::Relaxed);
        for asked in self.asked.drain(..) {
            // Whoever does not wait any more has been answered otherwise.
            let _ = asked.send(());
        }
    }

    /// After a failed sync a later one that succeeds proves nothing: only a start reads what is there.
    fn lose(&mut self, error: &io::Error) {
        self.asked.clear();
        let why = format!("a sync failed ({error}): mend the disk, then restart the shell");
        self.lost = Some(why.clone());
        self.shared.tell_failing(Some(why));
    }

    /// Ends files of past days, and looks whether the disk takes more.
    fn tick(&mut self) {
        if self.lost.is_some() {
            return;
        }
        self.write();
        let today = self.shared.now_us() / DAY_US;
        for (series, first_open) in self.series.iter_mut().zip(&self.shared.first_open) {
            if series.is_open() && series.day() < today {
                if let Err(error) = series.close() {
                    return self.lose(&error);
                }
                first_open.store(series.first_open(), Ordering::Release);
                let _ = self.sweep.try_send(Wake::Sweep);
            }
        }
        if self.waiting.is_empty() && self.notices.is_empty() {
            self.shared.tell_failing(self.short_of_space());
        }
    }

    fn short_of_space(&self) -> Option<String> {
        let needed = self.shared.options.min_free_bytes;
        let found = match rustix::fs::statvfs(&self.shared.options.dir) {
            Ok(found) => found,
            Err(error) => return Some(format!("its disk cannot be looked at: {error}")),
        };
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        (free < needed).then(|| format!("{free} bytes are free, and `audit.min_free` is {needed}"))
    }
}

fn ends(series: &[Series; 5]) -> Heads {
    std::array::from_fn(|i| series[i].head())
}

/// Archives that a crash has left half written.
fn remove_unfinished(dir: &std::path::Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn notice(shared: &Shared, log_type: LogType, noticed: Noticed) -> Entry {
    let mut details = Object::default();
    let action = match noticed {
        Noticed::Torn { file, bytes } => {
            tracing::warn!(
                file,
                bytes,
                "the last audit record was cut off by a crash: its bytes are removed"
            );
            details.put("file", &file);
            details.put("bytes", &bytes);
            "audit_torn_line_cut"
        }
        Noticed::Broken { file, line, why } => {
            details.put("file", &file);
            details.put("line", &line);
            details.put("why", &why);
            shared.tell_broken(format!("{file}, line {line}: {why}"));
            "audit_chain_broken"
        }
    };
    Entry::system(log_type, action, &details)
}
