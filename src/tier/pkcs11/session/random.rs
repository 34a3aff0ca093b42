//! Random bytes: those of the token, mixed with the process's own. All that is drawn, for IVs, for data keys and for callers, is
//! drawn here.
//!
//! What a token answers is input. Some modules answer CKR_OK and leave the buffer alone, and generators fail. So every byte of the
//! token is combined by XOR with one of the process's DRBG: what is given is unpredictable as long as one of the two is. The token's
//! part is tested (`health`); a part that fails is left out.

mod health;

use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::error::{Error as Failure, RvError};
use zeroize::Zeroizing;

use crate::base::{SecretBytes, random};
pub(crate) use health::Flaw;
pub(crate) use health::GRAIN;
use health::Tests;

/// Length in bytes of the block that IVs are taken from: 341 IVs of AES-GCM.
const BLOCK: usize = 4096;
/// Of one failed test chance may be the cause; so many name the token.
const FAILURES: u64 = 2;

/// The random bytes of a slot.
#[derive(Default)]
pub(crate) struct Random {
    /// What is left of the block drawn last.
    left: Mutex<Zeroizing<Vec<u8>>>,
    record: Mutex<Record>,
}

/// What is known of the token's generator.
#[derive(Default)]
struct Record {
    tests: Tests,
    /// Draws that failed a test, since the start of the process.
    failures: u64,
    absent: bool,
}

/// The token's random number generator. What is drawn is mixed with the process's own, and sound in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// Nothing is known against it.
    Sound,
    /// The token has none: all random bytes are the process's own.
    Absent,
    /// It failed health tests (SP 800-90B, section 4.4) more often than chance allows.
    Failing,
}

/// What was drawn, and what the token had to do with it.
pub(crate) struct Drawn {
    pub(crate) bytes: SecretBytes,
    pub(crate) token: Part,
}

/// The token's part of a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It is mixed in.
    Mixed,
    /// It failed a test and was left out, as that many draws since the start.
    LeftOut(Flaw, u64),
    /// The token has no generator, found out now or before.
    None(Discovery),
}

/// Whether something was known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discovery {
    New,
    Known,
}

impl Random {
    /// So many random bytes. `fill` draws those of the token; it runs without a lock, so a module that hangs there holds up nobody else.
    pub(crate) fn draw(&self, length: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), Failure>) -> Result<Drawn, Failure> {
        let mut bytes = SecretBytes::filled(length, |bytes| {
            random::fill(bytes);
            Ok::<_, Failure>(())
        })?;
        // Of its own: what the token leaves of it must not take away what was drawn above.
        let mut theirs = Zeroizing::new(vec![0; length.next_multiple_of(GRAIN)]);
        random::fill(&mut theirs);
        let marks = theirs.clone();
        let token = match fill(&mut theirs) {
            Ok(()) => self.examined(&theirs, &marks),
            Err(failure) if has_no_generator(&failure) => self.without_generator(),
            Err(failure) => return Err(failure),
        };
        if token == Part::Mixed {
            bytes.expose_mut().iter_mut().zip(theirs.iter()).for_each(|(byte, other)| *byte ^= other);
        }
        Ok(Drawn { bytes, token })
    }

    /// `N` random bytes out of a block drawn ahead, which nobody else gets: for IVs. `draw` draws the next block when that is used up.
    pub(crate) fn iv<const N: usize, E>(&self, draw: impl FnOnce(usize) -> Result<SecretBytes, E>) -> Result<[u8; N], E> {
        const { assert!(N <= BLOCK) };
        if let Some(bytes) = take(&mut self.left()) {
            return Ok(bytes);
        }
        let mut block = Zeroizing::new(draw(BLOCK)?.into_exposed());
        let bytes = take(&mut block).expect("a new block is long enough");
        *self.left() = block;
        Ok(bytes)
    }

    /// What is known of the token's generator, and how many draws failed a test since the start.
    pub(crate) fn generator(&self) -> (Generator, u64) {
        let record = self.record();
        let generator = match (record.failures, record.absent) {
            (FAILURES.., _) => Generator::Failing,
            (_, true) => Generator::Absent,
            (_, false) => Generator::Sound,
        };
        (generator, record.failures)
    }

    fn examined(&self, theirs: &[u8], marks: &[u8]) -> Part {
        let mut record = self.record();
        record.absent = false;
        match record.tests.examine(theirs, marks) {
            Ok(()) => Part::Mixed,
            Err(flaw) => {
                record.failures += 1;
                Part::LeftOut(flaw, record.failures)
            }
        }
    }

    fn without_generator(&self) -> Part {
        let known = std::mem::replace(&mut self.record().absent, true);
        Part::None(if known { Discovery::Known } else { Discovery::New })
    }

    fn left(&self) -> MutexGuard<'_, Zeroizing<Vec<u8>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// PKCS #11 3.0, section 5.1.6: CKR_RANDOM_NO_RNG; modules without the function have a stub or nothing in its place.
fn has_no_generator(failure: &Failure) -> bool {
    matches!(failure, Failure::Pkcs11(RvError::RandomNoRng | RvError::FunctionNotSupported, _) | Failure::NullFunctionPointer)
}

/// Takes the last `N` bytes off the block.
fn take<const N: usize>(block: &mut Vec<u8>) -> Option<[u8; N]> {
    let bytes = *block.last_chunk::<N>()?;
    block.truncate(block.len() - N);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use cryptoki::context::Function;

    use super::*;

    /// A token whose numbers are good.
    fn good(block: &mut [u8]) -> Result<(), Failure> {
        random::fill(block);
        Ok(())
    }

    #[test]
    fn no_byte_of_a_block_is_given_twice() {
        let source = Random::default();
        let mut next = 0u16;
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let bytes: [u8; 2] = source
                .iv(|length| {
                    let pairs = (next..).take(length / 2).flat_map(u16::to_be_bytes).collect();
                    next += u16::try_from(length / 2).unwrap();
                    Ok::<_, Failure>(SecretBytes::new(pairs))
                })
                .unwrap();
            assert!(seen.insert(bytes));
        }
    }

    #[test]
    fn a_failure_leaves_no_block() {
        let source = Random::default();
        assert!(source.iv::<12, _>(|_| Err(Failure::InvalidValue)).is_err());
        assert_eq!(source.iv::<12, _>(|length| Ok::<_, Failure>(SecretBytes::new(vec![7; length]))).unwrap(), [7; 12]);
    }

    #[test]
    fn what_the_token_gives_is_not_what_is_given() {
        let source = Random::default();
        let mut theirs = Vec::new();
        let drawn = source.draw(100, |block| {
            good(block)?;
            theirs = block.to_vec();
            Ok(())
        });
        let drawn = drawn.unwrap();
        assert_eq!((drawn.token, drawn.bytes.len(), theirs.len()), (Part::Mixed, 100, 128));
        assert!(drawn.bytes.expose().iter().zip(&theirs).filter(|(given, theirs)| given == theirs).count() < 10);
    }

    #[test]
    fn two_failures_name_the_token_and_what_is_drawn_stays_sound() {
        let source = Random::default();
        let mut seen = HashSet::new();
        let expected = [
            (Part::LeftOut(Flaw::Untouched, 1), Generator::Sound),
            (Part::LeftOut(Flaw::Untouched, 2), Generator::Failing),
            (Part::LeftOut(Flaw::Untouched, 3), Generator::Failing),
        ];
        for (token, generator) in expected {
            let drawn = source.draw(32, |_| Ok(())).unwrap();
            assert_eq!((drawn.token, source.generator().0), (token, generator));
            assert!(seen.insert(drawn.bytes.expose().to_vec()) && drawn.bytes.expose() != [0; 32]);
        }
        assert_eq!(source.draw(32, good).unwrap().token, Part::Mixed);
        assert_eq!(source.generator(), (Generator::Failing, 3));
    }

    #[test]
    fn a_token_without_a_generator_is_no_failure() {
        let source = Random::default();
        let answers = [RvError::RandomNoRng, RvError::FunctionNotSupported];
        for (answer, discovery) in answers.into_iter().zip([Discovery::New, Discovery::Known]) {
            let drawn = source.draw(16, |_| Err(Failure::Pkcs11(answer, Function::GenerateRandom))).unwrap();
            assert_eq!((drawn.token, drawn.bytes.len()), (Part::None(discovery), 16));
        }
        assert_eq!(source.generator(), (Generator::Absent, 0));
        source.draw(16, good).unwrap();
        assert_eq!(source.generator(), (Generator::Sound, 0));
        let fault = source.draw(16, |_| Err(Failure::Pkcs11(RvError::DeviceError, Function::GenerateRandom)));
        assert!(fault.is_err());
    }
}
