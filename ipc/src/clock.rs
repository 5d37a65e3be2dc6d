//! Gate time: nanoseconds since the Unix epoch, read from the wall clock once at boot and advanced by the TSC alone.
//!
//! The gate calibrates once and writes its [`Calibration`] into every events segment, so all processes of the host read
//! the same time from the same counter, without a syscall. Where the TSC is not invariant, `CLOCK_MONOTONIC` is the
//! counter instead (about 20 ns through the vDSO), and every process follows that choice.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long calibration watches both clocks: with 20 ns of read error at either end, under 10 ppm.
const CALIBRATION: Duration = Duration::from_millis(5);
/// One ns per tick, in 32.32 fixed point.
const ONE_Q32: u64 = 1 << 32;
/// Plausible counter speeds: 100 MHz to 16 GHz.
const NS_PER_TICK_Q32: std::ops::RangeInclusive<u64> = ONE_Q32 / 16..=ONE_Q32 * 10;

/// What turns ticks of the host's counter into gate time.
///
/// ```text
///  word 0: tick_base    word 1: ns_base    word 2: ns per tick, 32.32 fixed point    word 3: flags (bit 0: ticks are TSC)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// Counter value at `ns_base`.
    pub tick_base: u64,
    /// Gate time at `tick_base`, ns since the Unix epoch.
    pub ns_base: u64,
    /// Nanoseconds per tick, 32.32 fixed point.
    pub ns_per_tick_q32: u64,
    /// The counter is the TSC; otherwise `CLOCK_MONOTONIC` in ns.
    pub tsc: bool,
}

impl Calibration {
    /// To a segment's header.
    #[must_use]
    pub const fn encode(&self) -> [u64; 4] {
        [self.tick_base, self.ns_base, self.ns_per_tick_q32, self.tsc as u64]
    }

    /// From a segment's header; `None` when no calibration writes these numbers.
    #[must_use]
    pub fn decode(words: [u64; 4]) -> Option<Self> {
        let [tick_base, ns_base, ns_per_tick_q32, flags] = words;
        let valid = NS_PER_TICK_Q32.contains(&ns_per_tick_q32) && flags <= 1;
        valid.then_some(Self { tick_base, ns_base, ns_per_tick_q32, tsc: flags == 1 })
    }

    /// Whether this process can read the counter that the calibration is for.
    #[must_use]
    pub fn is_usable_here(&self) -> bool {
        !self.tsc || has_invariant_tsc()
    }
}

/// Reads gate time. `Copy`: a clock is four words.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    calibration: Calibration,
}

impl Clock {
    /// Calibrates (a few ms) and begins gate time at the wall clock, but never before `at_ns`.
    #[must_use]
    pub fn start(at_ns: u64) -> Self {
        let tsc = has_invariant_tsc();
        let ns_per_tick_q32 = if tsc { measure_tsc() } else { None };
        let (tsc, ns_per_tick_q32) = ns_per_tick_q32.map_or((false, ONE_Q32), |rate| (true, rate));
        let ns_base = wall_ns().max(at_ns);
        Self { calibration: Calibration { tick_base: ticks(tsc), ns_base, ns_per_tick_q32, tsc } }
    }

    /// The clock of another process on this host.
    #[must_use]
    pub const fn from_calibration(calibration: Calibration) -> Self {
        Self { calibration }
    }

    /// What other processes need to read the same time.
    #[must_use]
    pub const fn calibration(&self) -> Calibration {
        self.calibration
    }

    /// Gate time, ns since the Unix epoch; about 10 ns, no syscall.
    #[inline]
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.ns_at(self.ticks())
    }

    /// The raw counter: two reads and one [`Self::ticks_to_ns`] measure a duration.
    #[inline]
    #[must_use]
    pub fn ticks(&self) -> u64 {
        ticks(self.calibration.tsc)
    }

    /// Gate time of a counter value, ns.
    #[inline]
    #[must_use]
    pub fn ns_at(&self, ticks: u64) -> u64 {
        // Another core's counter may be a few ticks behind the base's.
        let since = ticks.saturating_sub(self.calibration.tick_base);
        self.calibration.ns_base.wrapping_add(self.ticks_to_ns(since))
    }

    /// A number of ticks in ns.
    #[inline]
    #[must_use]
    pub fn ticks_to_ns(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.calibration.ns_per_tick_q32)) >> 32) as u64
    }
}

/// The time stamp counter (0 where there is none); not ordered against other instructions.
#[inline]
#[must_use]
pub fn rdtsc() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has RDTSC, and Linux leaves it enabled in user mode.
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    0
}

#[inline]
fn ticks(tsc: bool) -> u64 {
    if tsc { rdtsc() } else { monotonic_ns(ClockId::Monotonic) }
}

fn monotonic_ns(id: ClockId) -> u64 {
    let now = clock_gettime(id);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn wall_ns() -> u64 {
    monotonic_ns(ClockId::Realtime)
}

/// Whether the TSC runs at one rate in all power states (CPUID 8000_0007h, EDX bit 8).
fn has_invariant_tsc() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid;
        __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & (1 << 8) != 0
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Nanoseconds per TSC tick, 32.32, against the raw monotonic clock; `None` when implausible.
fn measure_tsc() -> Option<u64> {
    let (ns_0, tsc_0) = read_both();
    std::thread::sleep(CALIBRATION);
    let (ns_1, tsc_1) = read_both();
    let ticks = tsc_1.checked_sub(tsc_0).filter(|ticks| *ticks > 0)?;
    let rate = u64::try_from((u128::from(ns_1.checked_sub(ns_0)?) << 32) / u128::from(ticks)).ok()?;
    NS_PER_TICK_Q32.contains(&rate).then_some(rate)
}

/// Both clocks at nearly the same instant: the tightest of a few tries.
fn read_both() -> (u64, u64) {
    let sample = |_| {
        let before = rdtsc();
        let ns = monotonic_ns(ClockId::MonotonicRaw);
        let after = rdtsc();
        (after.wrapping_sub(before), ns, before.wrapping_add(after.wrapping_sub(before) / 2))
    };
    let (_, ns, tsc) = (0..32).map(sample).min().unwrap_or_default();
    (ns, tsc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_time_never_goes_back() {
        let clock = Clock::start(0);
        let mut last = clock.now_ns();
        for _ in 0..100_000 {
            let now = clock.now_ns();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn gate_time_begins_at_the_wall_clock_or_later() {
        let wall = wall_ns();
        let now = Clock::start(0).now_ns();
        assert!(now >= wall && now < wall + 5_000_000_000, "{wall} {now}");
        let future = wall + 3_600_000_000_000;
        let now = Clock::start(future).now_ns();
        assert!(now >= future && now < future + 5_000_000_000);
    }

    #[test]
    fn gate_time_keeps_pace() {
        let clock = Clock::start(0);
        let (gate_0, raw_0) = (clock.now_ns(), monotonic_ns(ClockId::MonotonicRaw));
        std::thread::sleep(Duration::from_millis(50));
        let (gate_1, raw_1) = (clock.now_ns(), monotonic_ns(ClockId::MonotonicRaw));
        let (gate, raw) = (gate_1 - gate_0, raw_1 - raw_0);
        // Wide enough for being descheduled between the two reads.
        assert!(gate.abs_diff(raw) < 5_000_000, "{gate} {raw}");
    }

    #[test]
    fn a_client_reads_the_same_time() {
        let gate = Clock::start(0);
        let calibration = Calibration::decode(gate.calibration().encode()).unwrap();
        let client = Clock::from_calibration(calibration);
        let (a, b, c) = (gate.now_ns(), client.now_ns(), gate.now_ns());
        assert!(a <= b && b <= c);
        assert!(calibration.is_usable_here());
    }

    #[test]
    fn implausible_calibrations_are_refused() {
        let good = Clock::start(0).calibration().encode();
        for (word, value) in [(2, 0), (2, u64::MAX), (3, 2)] {
            let mut words = good;
            words[word] = value;
            assert_eq!(Calibration::decode(words), None);
        }
    }

    #[test]
    fn no_number_makes_the_clock_panic() {
        let extreme =
            Calibration { tick_base: 0, ns_base: u64::MAX, ns_per_tick_q32: ONE_Q32 * 10, tsc: false };
        let clock = Clock::from_calibration(extreme);
        let _ = (clock.ns_at(u64::MAX), clock.ticks_to_ns(u64::MAX), clock.now_ns());
    }
}
