//! Texts with wildcards: `*` for any characters, also none, `?` for one.

use std::fmt;

/// A text with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Every text is one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the whole of `text` fits. Takes at most as many steps as both lengths multiplied.
    pub fn matches(&self, text: &str) -> bool {
        let (mut pattern, mut text) = (self.0.chars(), text.chars());
        // Where it goes on when something does not fit: behind the last `*`, which then stands for one character more.
        let mut again = None;
        loop {
            let (mut pattern_rest, mut text_rest) = (pattern.clone(), text.clone());
            match (pattern_rest.next(), text_rest.next()) {
                (Some('*'), _) => {
                    again = Some((pattern_rest.clone(), text));
                    (pattern, text) = (pattern_rest, again.clone().map_or(text_rest, |(_, text)| text));
                }
                (Some('?'), Some(_)) => (pattern, text) = (pattern_rest, text_rest),
                (Some(wanted), Some(is)) if wanted == is => (pattern, text) = (pattern_rest, text_rest),
                (None, None) => return true,
                (Some(_) | None, _) => {
                    let Some((behind, from)) = &mut again else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    (pattern, text) = (behind.clone(), from.clone());
                }
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What it means, without a thought of how long it takes.
    fn fits(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), None) => fits(rest, text),
            (Some(('*', rest)), Some((_, text_rest))) => fits(rest, text) || fits(pattern, text_rest),
            (Some((wanted, rest)), Some((is, text_rest))) => (*wanted == '?' || wanted == is) && fits(rest, text_rest),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    #[test]
    fn wildcards_stand_for_what_they_stand_for() {
        for (pattern, text, fitting) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("?", "", false),
            ("?", "é", true),
            ("key/*", "key/", true),
            ("key/*", "keys/a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("*/app-?", "key/app-1", true),
            ("*/app-?", "key/app-12", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), fitting, "{pattern} {text}");
        }
    }

    /// Exponential in a naive matcher.
    #[test]
    fn many_wildcards_end_soon() {
        let pattern = Pattern::new("*a".repeat(1000));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(5000))));
    }

    proptest! {
        #[test]
        fn it_means_what_the_simplest_matcher_says(pattern in "[ab*?]{0,8}", text in "[abé]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Pattern::new(pattern.clone()).matches(&text), fits(&chars(&pattern), &chars(&text)));
        }
    }
}
