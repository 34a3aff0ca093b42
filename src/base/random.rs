//! Randomness of the process: identifiers, nonces, passwords. Key material of the hardware tier never comes from here.

/// Fills `buffer` from the process's DRBG (aws-lc, seeded by the operating system).
///
/// # Panics
/// When the operating system gives no entropy: nothing that needs an identifier or a nonce may go on then.
pub fn fill(buffer: &mut [u8]) {
    aws_lc_rs::rand::fill(buffer).expect("the operating system gives entropy");
}

/// `N` random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut buffer = [0; N];
    fill(&mut buffer);
    buffer
}
