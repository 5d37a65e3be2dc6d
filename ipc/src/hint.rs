//! Hints to the memory system: cache lines on their way before they are used, and huge pages for
//! tables that are too large for the address cache. A hint changes no value; one that is refused costs only time.

use std::mem::{MaybeUninit, size_of_val};

/// Asks for the line that `value` begins in, to be read soon.
#[inline]
pub fn prefetch_read<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint: it never faults and reads nothing into the program.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Asks for the line that `value` begins in, to be written soon.
#[inline]
pub fn prefetch_write<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint: it never faults and writes nothing. Assembly, because the intrinsic's write hint
    // compiles to a read prefetch at this target level.
    unsafe {
        std::arch::asm!("prefetchw [{0}]", in(reg) std::ptr::from_ref(value), options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Asks for huge pages under memory that was allocated but not touched yet (`Vec::spare_capacity_mut`). Only whole huge
/// pages inside it are asked for; true when there are some and the kernel agreed.
pub fn huge_pages<T>(untouched: &mut [MaybeUninit<T>]) -> bool {
    let start = untouched.as_mut_ptr().cast::<u8>();
    let skip = start.align_offset(HUGE_PAGE_BYTES);
    let bytes = size_of_val(untouched).saturating_sub(skip) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    if bytes == 0 {
        return false;
    }
    // SAFETY: the range lies inside memory that the caller lends exclusively, and this advice leaves contents alone.
    unsafe {
        let first = start.add(skip).cast();
        rustix::mm::madvise(first, bytes, rustix::mm::Advice::LinuxHugepage).is_ok()
    }
}

/// Has the kernel map every page of this program's code, so that the first run of a rare path faults no page in. The
/// number of mappings that it took; 0 where the kernel refuses or the system has no `/proc`.
pub fn populate_code() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(code_range).filter(|(first, last)| populate(*first, *last)).count()
}

/// The range of a line of `/proc/self/maps` that describes code from a file.
fn code_range(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let (first, last) = range.split_once('-')?;
    let is_code = rights.starts_with("r-x") && line.contains('/');
    let parse = |text| usize::from_str_radix(text, 16).ok();
    Some((parse(first)?, parse(last)?)).filter(|(first, last)| is_code && first < last)
}

fn populate(first: usize, last: usize) -> bool {
    let start = std::ptr::without_provenance_mut(first);
    // SAFETY: this advice maps pages of a range for reading and changes no content; a range that is gone is an error.
    unsafe { rustix::mm::madvise(start, last - first, rustix::mm::Advice::LinuxPopulateRead).is_ok() }
}

/// Touches the pages of the calling thread's stack that deep calls will use.
#[inline(never)]
pub fn touch_stack() {
    const BYTES: usize = 256 << 10;
    let mut pages = [0_u8; BYTES];
    for page in pages.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&pages);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_own_code_is_populated() {
        assert!(populate_code() > 0);
        assert_eq!(code_range("5600-5700 r-xp 0 0:0 1 /bin/x"), Some((0x5600, 0x5700)));
        for line in
            ["", "5600-5700 rw-p 0 0:0 1 /bin/x", "5700-5600 r-xp 0 0:0 1 /bin/x", "x-y r-xp 0 0:0 0 /b"]
        {
            assert_eq!(code_range(line), None);
        }
    }

    #[test]
    fn hints_change_nothing() {
        let value = [7u64; 8];
        prefetch_read(&value);
        prefetch_write(&value);
        assert_eq!(value, [7; 8]);
        let mut small: Vec<u64> = Vec::with_capacity(8);
        assert!(!huge_pages(small.spare_capacity_mut()));
        let mut large: Vec<u64> = Vec::with_capacity(2 << 20);
        huge_pages(large.spare_capacity_mut());
        large.resize(2 << 20, 5);
        assert!(large.iter().all(|v| *v == 5));
    }
}
