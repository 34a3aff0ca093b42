//! Results that are not what the real module gave: a call is answered with CKR_OK, and what it wrote is wrong.

/// How a result is made wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// One bit of it is the other one.
    Flip,
    /// The program's buffer is left as it was.
    Untouched,
    /// Every byte is 0.
    Zero,
    /// The same bytes as in every call.
    Repeat,
    /// From the middle on, one value over and over.
    Stuck,
}

impl Lie {
    /// The lies about random numbers, by their names.
    pub const RANDOM: [(&'static str, Self); 4] =
        [("untouched", Self::Untouched), ("zero", Self::Zero), ("repeat", Self::Repeat), ("stuck", Self::Stuck)];

    /// Makes a result wrong. `before` is what was in its place when the program called.
    pub fn tell(self, result: &mut [u8], before: &[u8]) {
        match self {
            Self::Flip => {
                if let Some(first) = result.first_mut() {
                    *first ^= 1;
                }
            }
            Self::Untouched => result.copy_from_slice(before),
            Self::Zero => result.fill(0),
            // No byte is near another of its value, so that only the repetition tells.
            Self::Repeat => result.iter_mut().zip(0u32..).for_each(|(byte, at)| *byte = (at.wrapping_mul(167) + at / 256) as u8),
            Self::Stuck => {
                let middle = result.len() / 2;
                result[middle..].fill(0xa5);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lie_is_told_apart() {
        let (truth, before) = (*b"what the token gave", *b"what was in there--");
        let told = |lie: Lie| {
            let mut result = truth;
            lie.tell(&mut result, &before);
            result
        };
        assert_eq!(told(Lie::Flip)[0], truth[0] ^ 1);
        assert_eq!(told(Lie::Flip)[1..], truth[1..]);
        assert_eq!(told(Lie::Untouched), before);
        assert_eq!(told(Lie::Zero), [0; 19]);
        assert_eq!(told(Lie::Stuck)[9..], [0xa5; 10]);
        assert_eq!(told(Lie::Stuck)[..9], truth[..9]);
        let repeated = told(Lie::Repeat);
        assert_eq!(repeated, told(Lie::Repeat));
        assert_eq!(std::collections::HashSet::from(repeated).len(), 19);
    }
}
