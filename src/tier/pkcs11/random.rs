//! Random bytes of the token in blocks: an IV costs a copy instead of a call. Each byte is used once.

use std::sync::{Mutex, PoisonError};

use cryptoki::error::Error as Failure;
use zeroize::Zeroizing;

/// Length of a block in bytes: 341 IVs of AES-GCM.
const BLOCK: usize = 4096;

/// What is left of the block drawn last.
#[derive(Default)]
pub(super) struct RandomBlocks(Mutex<Zeroizing<Vec<u8>>>);

impl RandomBlocks {
    /// `N` bytes that nobody else gets. `fill` draws a new block when the old one is used up; it runs without the lock, so a
    /// module that hangs there holds up nobody else.
    pub(super) fn draw<const N: usize>(&self, fill: impl FnOnce(&mut [u8]) -> Result<(), Failure>) -> Result<[u8; N], Failure> {
        const { assert!(N <= BLOCK) };
        if let Some(bytes) = take(&mut self.left()) {
            return Ok(bytes);
        }
        let mut block = Zeroizing::new(vec![0; BLOCK]);
        fill(&mut block)?;
        let bytes = take(&mut block).expect("a new block is long enough");
        *self.left() = block;
        Ok(bytes)
    }

    fn left(&self) -> std::sync::MutexGuard<'_, Zeroizing<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the last `N` bytes off the block.
fn take<const N: usize>(block: &mut Vec<u8>) -> Option<[u8; N]> {
    let bytes = *block.last_chunk::<N>()?;
    block.truncate(block.len() - N);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_given_twice() {
        let blocks = RandomBlocks::default();
        let mut next = 0u16;
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let bytes: [u8; 2] = blocks
                .draw(|block| {
                    for pair in block.chunks_exact_mut(2) {
                        pair.copy_from_slice(&next.to_be_bytes());
                        next += 1;
                    }
                    Ok(())
                })
                .unwrap();
            assert!(seen.insert(bytes));
        }
    }

    #[test]
    fn a_failure_leaves_no_block() {
        let blocks = RandomBlocks::default();
        assert!(blocks.draw::<12>(|_| Err(Failure::NullFunctionPointer)).is_err());
        assert_eq!(
            blocks
                .draw::<12>(|block| {
                    block.fill(7);
                    Ok(())
                })
                .unwrap(),
            [7; 12]
        );
    }
}
