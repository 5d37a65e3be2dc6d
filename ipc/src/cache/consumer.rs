//! A consumer: the series it declared, and whether all of them have enough.

use super::ReadError;
use super::series::{Newest, SeriesView};
use super::window::{GapPolicy, Window, WindowBuffer};

/// Reads several series together. What is ready for one consumer need not be for another.
#[derive(Debug)]
pub struct Consumer {
    upstreams: Vec<Upstream>,
    policy: GapPolicy,
    allowed_lateness_ns: u64,
    watermark_ns: u64,
}

#[derive(Debug)]
struct Upstream {
    series: SeriesView,
    period: usize,
    buffer: WindowBuffer,
}

impl Consumer {
    /// A consumer without upstreams: never ready.
    #[must_use]
    pub fn new(policy: GapPolicy, allowed_lateness_ns: u64) -> Self {
        Self { upstreams: Vec::new(), policy, allowed_lateness_ns, watermark_ns: 0 }
    }

    /// Declares an upstream of which `period` buckets are needed. Returns its index.
    ///
    /// # Errors
    /// [`ReadError::Length`] when the series does not keep so many.
    pub fn declare(&mut self, series: SeriesView, period: u32) -> Result<usize, ReadError> {
        let kept = series.shape().period();
        if period == 0 || period > kept {
            return Err(ReadError::Length { period: kept });
        }
        let buffer = WindowBuffer::of(series.shape());
        self.upstreams.push(Upstream { series, period: period as usize, buffer });
        Ok(self.upstreams.len() - 1)
    }

    /// Whether every upstream has its period, after the gap policy.
    ///
    /// # Errors
    /// [`ReadError::Gap`] with [`GapPolicy::Fail`], [`ReadError::Busy`] when a writer overtook every try.
    pub fn ready(&mut self) -> Result<bool, ReadError> {
        for at in 0..self.upstreams.len() {
            match self.window(at) {
                Ok(_) => {}
                Err(ReadError::Empty | ReadError::NotReady { .. }) => return Ok(false),
                Err(other) => return Err(other),
            }
        }
        Ok(!self.upstreams.is_empty())
    }

    /// The window of one upstream.
    ///
    /// # Errors
    /// As [`SeriesView::ready_window`].
    ///
    /// # Panics
    /// When no upstream of that index was declared.
    pub fn window(&mut self, upstream: usize) -> Result<Window<'_>, ReadError> {
        let Upstream { series, period, buffer } = &mut self.upstreams[upstream];
        series.ready_window(*period, self.policy, buffer)
    }

    /// The time before which nothing is expected any more, ns: the oldest of the upstreams' newest values, less the
    /// allowed lateness. It never goes back, and is 0 until every upstream has a value.
    pub fn watermark_ns(&mut self) -> u64 {
        let mut oldest: Option<u64> = None;
        for upstream in &self.upstreams {
            let mut newest = Newest::default();
            if upstream.series.newest(&mut newest).is_err() {
                return self.watermark_ns;
            }
            let time_ns = newest.stamp().time_ns();
            oldest = Some(oldest.map_or(time_ns, |oldest| oldest.min(time_ns)));
        }
        let now_ns = oldest.unwrap_or(0).saturating_sub(self.allowed_lateness_ns);
        self.watermark_ns = self.watermark_ns.max(now_ns);
        self.watermark_ns
    }
}
