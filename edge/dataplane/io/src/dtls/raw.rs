//! What the safe crate does not reach: OpenSSL's DTLS retransmission timer and the size of its buffers.

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslRef};
use openssl_sys as ffi;
use std::time::Duration;

/// `DTLS_CTRL_GET_TIMEOUT` of ssl.h.
const CTRL_GET_TIMEOUT: libc::c_int = 73;
/// `DTLS_CTRL_HANDLE_TIMEOUT` of ssl.h.
const CTRL_HANDLE_TIMEOUT: libc::c_int = 74;

/// RFC 6347 §4.2.4.1 asks for 1 s when nothing is known of the path; ICE has just measured that it answers, and a lost
/// flight must not cost a viewer a second (RFC 9147 §5.8.2 allows less where the round trip is known).
const FIRST_TIMEOUT: Duration = Duration::from_millis(200);
/// RFC 6347 §4.2.4.1.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// `SSL_CTRL_SET_MAX_SEND_FRAGMENT` of ssl.h.
const CTRL_SET_MAX_SEND_FRAGMENT: libc::c_int = 52;

/// `SSL_CTRL_CLEAR_MODE` of ssl.h.
const CTRL_CLEAR_MODE: libc::c_int = 78;
/// `SSL_MODE_AUTO_RETRY` of ssl.h; on by default.
const MODE_AUTO_RETRY: libc::c_long = 4;

unsafe extern "C" {
    fn DTLS_set_timer_cb(
        ssl: *mut ffi::SSL,
        callback: Option<extern "C" fn(*mut ffi::SSL, libc::c_uint) -> libc::c_uint>,
    );
}

extern "C" fn next_timeout_us(_ssl: *mut ffi::SSL, previous_us: libc::c_uint) -> libc::c_uint {
    let next = match previous_us {
        0 => FIRST_TIMEOUT,
        previous => (Duration::from_micros(previous.into()) * 2).min(LONGEST_TIMEOUT),
    };
    libc::c_uint::try_from(next.as_micros()).unwrap_or(libc::c_uint::MAX)
}

/// Makes write buffers as small as the datagrams they fill, not as large as a record may be (16 KiB).
pub fn limit_record_len(context: &mut SslContextBuilder, len: u32) -> Result<(), ErrorStack> {
    // SAFETY: the pointer is a live SSL_CTX and the control takes an integer.
    let taken = unsafe {
        ffi::SSL_CTX_ctrl(
            context.as_ptr(),
            CTRL_SET_MAX_SEND_FRAGMENT,
            libc::c_long::from(len),
            std::ptr::null_mut(),
        )
    };
    if taken == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Makes reads return after a handshake record instead of looking for data behind it: that tells a repeated flight, which
/// was understood, from a forged record, after which OpenSSL asks for the next one.
pub fn return_after_handshake_records(context: &mut SslContextBuilder) {
    // SAFETY: the pointer is a live SSL_CTX and the control takes an integer.
    unsafe { ffi::SSL_CTX_ctrl(context.as_ptr(), CTRL_CLEAR_MODE, MODE_AUTO_RETRY, std::ptr::null_mut()) };
}

/// Makes the first retransmission come after [`FIRST_TIMEOUT`].
pub fn use_short_first_timeout(ssl: &SslRef) {
    // SAFETY: the pointer is a live SSL and the callback a plain function that touches nothing.
    unsafe { DTLS_set_timer_cb(ssl.as_ptr(), Some(next_timeout_us)) };
}

/// Time left until the timer fires; `None` when it does not run.
pub fn remaining(ssl: &SslRef) -> Option<Duration> {
    let mut left = libc::timeval { tv_sec: 0, tv_usec: 0 };
    // SAFETY: DTLS_CTRL_GET_TIMEOUT writes one timeval through the pointer, which outlives the call.
    let running = unsafe { ffi::SSL_ctrl(ssl.as_ptr(), CTRL_GET_TIMEOUT, 0, std::ptr::from_mut(&mut left).cast()) };
    (running == 1).then(|| {
        let micros = left.tv_sec.saturating_mul(1_000_000).saturating_add(left.tv_usec);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    })
}

/// Repeats the last flight if its time has come; an error when it was repeated too often.
pub fn handle(ssl: &SslRef) -> Result<(), ()> {
    // SAFETY: DTLS_CTRL_HANDLE_TIMEOUT takes no argument.
    let result = unsafe { ffi::SSL_ctrl(ssl.as_ptr(), CTRL_HANDLE_TIMEOUT, 0, std::ptr::null_mut()) };
    if result < 0 { Err(()) } else { Ok(()) }
}
