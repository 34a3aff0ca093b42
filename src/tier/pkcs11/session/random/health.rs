//! Health tests of a token's random numbers: the continuous tests of SP 800-90B, section 4.4, over all that is drawn from it, and what
//! the module may have done instead of drawing.
//!
//! Pure. A sample is a byte. The cut-offs are for eight bits of entropy a sample and a false alarm in 2^60 samples: a token that is well
//! never meets one.

use std::collections::VecDeque;
use std::fmt;

use crate::tier::Sha256Digest;
use crate::tier::public_key::sha256;

/// The token is asked for a multiple of so many bytes: two draws of this length are equal by chance once in 2^256 times.
pub(crate) const GRAIN: usize = 32;
/// Section 4.4.1: the cut-off is 1 + 60/8, rounded up.
const REPETITIONS: usize = 9;
/// Section 4.4.2: the window of a source whose samples are not bits.
const WINDOW: usize = 512;
/// Section 4.4.2: so often may the first sample of a window be in it, less one. 1 + CRITBINOM(512, 2^-8, 1 - 2^-60).
const PROPORTION: usize = 26;
/// So many draws are remembered: a module that gives one of them again gives no random numbers.
const REMEMBERED: usize = 16;

/// What is wrong with a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The module left part of the buffer as it was.
    Untouched,
    /// It begins as an earlier one did.
    Repeated,
    /// The repetition count test: nine equal bytes in a row. A constant draw fails it.
    RepetitionCount,
    /// The adaptive proportion test: one value in 26 of 512 bytes.
    AdaptiveProportion,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untouched => "the module left the buffer as it was",
            Self::Repeated => "the same bytes came before",
            Self::RepetitionCount => "one value came nine times in a row",
            Self::AdaptiveProportion => "one value came 26 times in 512 bytes",
        })
    }
}

/// The tests, which go on from one draw to the next.
#[derive(Default)]
pub(super) struct Tests {
    /// The last sample, and how many like it ended the draw.
    run: (u8, usize),
    /// The first sample of the present window, how many like it the window has, and how long it is.
    window: (u8, usize, usize),
    /// Digests of how the latest draws began: the bytes themselves are secret.
    former: VecDeque<Sha256Digest>,
}

impl Tests {
    /// Tests what was drawn. `marks` is what was in the buffer before: random bytes, drawn for this alone.
    ///
    /// # Errors
    /// What is wrong with it. The continuous tests begin anew then.
    pub(super) fn examine(&mut self, drawn: &[u8], marks: &[u8]) -> Result<(), Flaw> {
        let examined = self.look(drawn, marks);
        if examined.is_err() {
            (self.run, self.window) = Default::default();
        }
        examined
    }

    fn look(&mut self, drawn: &[u8], marks: &[u8]) -> Result<(), Flaw> {
        if drawn.chunks_exact(GRAIN).zip(marks.chunks_exact(GRAIN)).any(|(drawn, mark)| drawn == mark) {
            return Err(Flaw::Untouched);
        }
        let beginning = sha256(&drawn[..GRAIN.min(drawn.len())]);
        if self.former.contains(&beginning) {
            return Err(Flaw::Repeated);
        }
        self.former.truncate(REMEMBERED - 1);
        self.former.push_front(beginning);
        drawn.iter().try_for_each(|sample| self.count_repetition(*sample))?;
        drawn.iter().try_for_each(|sample| self.count_proportion(*sample))
    }

    fn count_repetition(&mut self, sample: u8) -> Result<(), Flaw> {
        let (last, count) = self.run;
        self.run = if count > 0 && last == sample { (last, count + 1) } else { (sample, 1) };
        if self.run.1 >= REPETITIONS { Err(Flaw::RepetitionCount) } else { Ok(()) }
    }

    fn count_proportion(&mut self, sample: u8) -> Result<(), Flaw> {
        let (first, count, length) = self.window;
        let (first, count) = match length {
            0 => (sample, 1),
            _ if first == sample => (first, count + 1),
            _ => (first, count),
        };
        self.window = (first, count, (length + 1) % WINDOW);
        if count >= PROPORTION { Err(Flaw::AdaptiveProportion) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: [u8; 1024] = [0xee; 1024];

    /// Bytes without any repetition nearby.
    fn even(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 167 + at / 256 * 3) as u8).collect()
    }

    #[test]
    fn good_numbers_pass() {
        let mut tests = Tests::default();
        for _ in 0..1000 {
            let drawn: [u8; 1024] = crate::base::random::bytes();
            assert_eq!(tests.examine(&drawn, &MARKS), Ok(()));
        }
    }

    #[test]
    fn eight_equal_bytes_pass_and_nine_do_not() {
        let mut drawn = even(256);
        drawn[40..48].fill(3);
        assert_eq!(Tests::default().examine(&drawn, &MARKS), Ok(()));
        drawn[40..49].fill(3);
        assert_eq!(Tests::default().examine(&drawn, &MARKS), Err(Flaw::RepetitionCount));
        // Over the border of two draws.
        let mut tests = Tests::default();
        let (mut one, mut two) = (even(64), even(64));
        one[59..].fill(9);
        two[..4].fill(9);
        assert_eq!(tests.examine(&one, &MARKS), Ok(()));
        assert_eq!(tests.examine(&two, &MARKS), Err(Flaw::RepetitionCount));
        for constant in [0, 0xff] {
            assert_eq!(Tests::default().examine(&[constant; GRAIN], &MARKS), Err(Flaw::RepetitionCount));
        }
    }

    /// A window whose first value is in it so often, at every second place.
    fn window(times: usize) -> Vec<u8> {
        let others = (0..).map(|at: usize| (at * 167) as u8).filter(|byte| *byte != 0x11);
        let mut drawn: Vec<_> = others.take(WINDOW).collect();
        (0..times).for_each(|time| drawn[time * 2] = 0x11);
        drawn
    }

    #[test]
    fn twenty_five_of_a_window_pass_and_twenty_six_do_not() {
        assert_eq!(Tests::default().examine(&window(PROPORTION - 1), &MARKS), Ok(()));
        assert_eq!(Tests::default().examine(&window(PROPORTION), &MARKS), Err(Flaw::AdaptiveProportion));
        // A window that ends begins to count anew.
        let mut tests = Tests::default();
        assert_eq!(tests.examine(&window(PROPORTION - 1), &MARKS), Ok(()));
        let mut next = window(PROPORTION - 1);
        next[1] = 0x99;
        next.swap(0, 1);
        assert_eq!(tests.examine(&next, &MARKS), Ok(()));
    }

    #[test]
    fn a_buffer_that_was_left_alone_is_seen() {
        let mut drawn = even(1024);
        drawn[32..64].copy_from_slice(&MARKS[32..64]);
        assert_eq!(Tests::default().examine(&drawn, &MARKS), Err(Flaw::Untouched));
        assert_eq!(Tests::default().examine(&even(32), &even(32)), Err(Flaw::Untouched));
    }

    #[test]
    fn a_draw_that_was_before_is_seen() {
        let mut tests = Tests::default();
        let draw = |number: u8| {
            let mut drawn = even(64);
            drawn[5] = number;
            drawn
        };
        for number in 0..16 {
            assert_eq!(tests.examine(&draw(number), &MARKS), Ok(()), "{number}");
        }
        for number in [0, 7, 15] {
            assert_eq!(tests.examine(&draw(number), &MARKS), Err(Flaw::Repeated), "{number}");
        }
        // Of another length, and beginning alike.
        assert_eq!(tests.examine(&draw(7)[..32], &MARKS), Err(Flaw::Repeated));
        assert_eq!(tests.examine(&draw(16), &MARKS), Ok(()));
        assert_eq!(tests.examine(&draw(0), &MARKS), Ok(()), "what is long past is forgotten");
    }
}
