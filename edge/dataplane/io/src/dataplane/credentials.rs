//! Unpredictable values for sessions: passwords, ssrcs, starts of counters.

use crate::directory::encode_ufrag;
use crate::plan::Random;
use openssl::rand::rand_bytes;

/// The system's randomness, as OpenSSL keeps it.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        rand_bytes(&mut bytes).expect("OpenSSL has seeded itself, or the DTLS identity could not have been made");
        u32::from_be_bytes(bytes)
    }
}

/// 128 random bits in hexadecimal: an ICE password (RFC 8445 §5.3 asks for as many) or a CNAME.
pub fn token() -> String {
    (0..4).map(|_| format!("{:08x}", SystemRandom.next_u32())).collect()
}

/// The ufrag that names shard and session.
pub fn ufrag(shard: usize, session_id: u64) -> String {
    encode_ufrag(shard, session_id, SystemRandom.next_u32())
}

/// Three different ssrcs, none of them 0 (which some stacks take for "none").
pub fn distinct_ssrcs() -> [u32; 3] {
    let first = SystemRandom.next_u32() | 1;
    [first, first.wrapping_add(2), first.wrapping_add(4)]
}
