//! The caller's memory: copied in and out, never kept; and what goes wrong, as a number and a text.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::types::{RF_ERR_ARGUMENT, RF_ERR_INTERNAL, RF_OK};

/// The longest text that is read.
const MAX_TEXT_BYTES: usize = 4096;

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: i32,
    text: Cow<'static, str>,
}

impl Failure {
    pub(crate) fn new(code: i32, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into() }
    }
}

thread_local! {
    static LAST_ERROR: RefCell<Cow<'static, str>> = const { RefCell::new(Cow::Borrowed("")) };
    /// The same as the caller was last given it.
    static LAST_TEXT: RefCell<CString> = RefCell::new(CString::default());
}

/// Runs a call: no panic leaves it, and its error's text is kept for [`last_error`].
#[inline]
pub(crate) fn guarded(call: impl FnOnce() -> Result<i32, Failure>) -> i32 {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => keep(failure),
        Err(_) => keep(Failure::new(RF_ERR_INTERNAL, "a defect in this library: please report it")),
    }
}

#[cold]
fn keep(failure: Failure) -> i32 {
    // A thread that is ending has no such memory any more: then nobody can ask either.
    let _ = LAST_ERROR.try_with(|last| last.replace(failure.text));
    failure.code
}

/// The text of this thread's last error.
pub(crate) fn last_error() -> *const c_char {
    let text = LAST_ERROR.try_with(|last| last.borrow().replace('\0', " ")).unwrap_or_default();
    let text = CString::new(text).unwrap_or_default();
    let kept = LAST_TEXT.try_with(|last| {
        last.replace(text);
        last.borrow().as_ptr()
    });
    kept.unwrap_or(c"".as_ptr())
}

/// Refuses a pointer that cannot be one to a `T`.
#[inline]
pub(crate) fn check<T>(pointer: *const T) -> Result<(), Failure> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(Failure::new(RF_ERR_ARGUMENT, "a pointer is NULL or misaligned"));
    }
    Ok(())
}

/// A copy of what `pointer` points to. `T` is a struct of numbers: every bit pattern is one.
#[inline]
pub(crate) fn read<T: Copy>(pointer: *const T) -> Result<T, Failure> {
    check(pointer)?;
    // SAFETY: not null and aligned, and the caller of the C function promises that it points to a `T`.
    Ok(unsafe { pointer.read() })
}

/// Writes `value` to `pointer`.
#[inline]
pub(crate) fn write<T: Copy>(pointer: *mut T, value: T) -> Result<i32, Failure> {
    check(pointer)?;
    // SAFETY: not null and aligned, and the caller of the C function promises that a `T` may be written there.
    unsafe { pointer.write(value) };
    Ok(RF_OK)
}

/// A copy of `N` bytes.
pub(crate) fn read_bytes<const N: usize>(pointer: *const u8) -> Result<[u8; N], Failure> {
    read(pointer.cast::<[u8; N]>())
}

/// A copy of a text that ends with a NUL.
pub(crate) fn read_text(pointer: *const c_char) -> Result<String, Failure> {
    check(pointer)?;
    let mut bytes = Vec::new();
    for at in 0..MAX_TEXT_BYTES {
        // SAFETY: the caller promises a text that ends with a NUL, and no byte before this one was it.
        let byte = unsafe { pointer.add(at).read() }.cast_unsigned();
        if byte == 0 {
            return String::from_utf8(bytes)
                .map_err(|_| Failure::new(RF_ERR_ARGUMENT, "a text is not UTF-8"));
        }
        bytes.push(byte);
    }
    Err(Failure::new(RF_ERR_ARGUMENT, "a text is longer than 4096 bytes"))
}

/// Writes as much of `text` as fits `length` bytes with its NUL.
pub(crate) fn write_text(buffer: *mut c_char, length: usize, text: &str) -> Result<i32, Failure> {
    check(buffer)?;
    let Some(room) = length.checked_sub(1) else {
        return Err(Failure::new(RF_ERR_ARGUMENT, "a buffer of no bytes holds no text"));
    };
    let end = text.len().min(room);
    for (at, byte) in text.as_bytes()[..end].iter().chain(&[0]).enumerate() {
        // SAFETY: `at` is at most `end`, which is below `length`, and the caller promises that many bytes.
        unsafe { buffer.add(at).write(byte.cast_signed()) };
    }
    Ok(RF_OK)
}
