//! The parameters of a request: flat strings, the union of query and form body.

use std::str::FromStr;

use percent_encoding::percent_decode;

use crate::base::{Error, Kind, Result, excerpt};

/// Parameters by name.
#[derive(Clone, Default)]
pub struct Parameters(Vec<(String, String)>);

/// The most parameters of a request: a list of 50 resources with three fields each, and some.
const LIMIT: usize = 256;

impl Parameters {
    /// Reads a query or a form body: `%XX`, and `+` for a blank.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] for too many of them, and for what is no UTF-8: another text must not take its place.
    pub fn parse(encoded: &[u8]) -> Result<Self> {
        // Names and values end at ASCII characters, so they are UTF-8 when the whole is.
        if percent_decode(encoded).decode_utf8().is_err() {
            return Err(Error::invalid("The parameters are not UTF-8."));
        }
        let pairs: Vec<_> =
            form_urlencoded::parse(encoded).take(LIMIT + 1).map(|(name, value)| (name.into(), value.into())).collect();
        if pairs.len() > LIMIT {
            return Err(Error::invalid(format!("A request has at most {LIMIT} parameters.")));
        }
        Ok(Self(pairs))
    }

    /// These and the others.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] when one is given twice: which of them was meant is not for us to guess.
    pub fn union(mut self, others: Self) -> Result<Self> {
        self.0.extend(others.0);
        let mut names: Vec<_> = self.0.iter().map(|(name, _)| name).collect();
        names.sort();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(self),
            Some(pair) => Err(Error::invalid(format!("The parameter {:?} is given twice.", excerpt(pair[0])))),
        }
    }

    /// Refuses what is written in parts, `Name.1` or `Name.Key`, but for the names that the operation reads so: a list or an object
    /// that a client took apart would be as good as absent.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`].
    pub fn check_parts(&self, read_in_parts: &[&str]) -> Result<()> {
        let unread = |name: &str| name.split_once('.').is_some_and(|(whole, _)| !read_in_parts.contains(&whole));
        match self.0.iter().find(|(name, _)| unread(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let (name, whole) = (excerpt(name), excerpt(name.split('.').next().unwrap_or_default()));
                Err(Error::invalid(format!("The parameter {name:?} is not read: {whole:?} is one text, if the operation has it.")))
            }
        }
    }

    /// The same, with another value for one that is there.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let pairs = self.0.iter().map(|(known, is)| (known.clone(), if known == name { value } else { is }.to_owned()));
        Self(pairs.collect())
    }

    /// As they came, decoded.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// One that may be absent; empty counts as absent.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// One that must be there and may be empty.
    ///
    /// # Errors
    /// [`Kind::MissingParameter`].
    pub fn given(&self, name: &str) -> Result<&str> {
        self.maybe_empty(name).ok_or_else(|| missing(name))
    }

    /// One that may be absent, and may be empty, which is not the same.
    pub fn maybe_empty(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// One that must be there.
    ///
    /// # Errors
    /// [`Kind::MissingParameter`].
    pub fn required(&self, name: &str) -> Result<&str> {
        self.optional(name).ok_or_else(|| missing(name))
    }

    /// One that may be absent, parsed.
    ///
    /// # Errors
    /// Those of the type.
    pub fn optional_as<T: FromStr<Err = Error>>(&self, name: &str) -> Result<Option<T>> {
        self.optional(name).map(|text| parsed(name, text)).transpose()
    }

    /// One that must be there, parsed.
    ///
    /// # Errors
    /// [`Kind::MissingParameter`], and those of the type.
    pub fn required_as<T: FromStr<Err = Error>>(&self, name: &str) -> Result<T> {
        self.optional_as(name)?.ok_or_else(|| missing(name))
    }

    /// A number that may be absent.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] when it is none, or out of range.
    pub fn number(&self, name: &str, range: std::ops::RangeInclusive<u32>, default: u32) -> Result<u32> {
        let Some(text) = self.optional(name) else { return Ok(default) };
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            Error::invalid(format!("The parameter {name} is a number between {} and {}.", range.start(), range.end()))
        })
    }

    /// `true` or `false`, in capitals or not, or absent: parsed into what each of them means.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] for anything else.
    pub fn switch<T>(&self, name: &str, off: T, on: T) -> Result<Option<T>> {
        match self.optional(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(on)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(off)),
            Some(_) => Err(Error::invalid(format!("The parameter {name} is true or false."))),
        }
    }

    /// A list of texts: JSON array as a string, or values with commas between them.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] when it is neither.
    pub fn list(&self, name: &str) -> Result<Vec<String>> {
        let Some(text) = self.optional(name) else { return Ok(Vec::new()) };
        if text.trim_start().starts_with('[') {
            return serde_json::from_str(text)
                .map_err(|_| Error::invalid(format!("The parameter {name} is not a JSON array of strings.")));
        }
        Ok(text.split(',').map(|item| item.trim().to_owned()).collect())
    }

    /// A list that may be absent, and then stays as it is.
    ///
    /// # Errors
    /// As [`Parameters::list`]; [`Kind::InvalidParameter`] for an empty text, which is no list.
    pub fn optional_list(&self, name: &str) -> Result<Option<Vec<String>>> {
        match self.maybe_empty(name) {
            None => Ok(None),
            Some("") => Err(Error::invalid(format!("The parameter {name} is empty, and no list; leave it out to change nothing."))),
            Some(_) => self.list(name).map(Some),
        }
    }

    /// The items of a list that may be absent, parsed.
    ///
    /// # Errors
    /// As [`Parameters::list_as`].
    pub fn optional_list_as<T: FromStr<Err = Error>>(&self, name: &str) -> Result<Option<Vec<T>>> {
        let list = self.optional_list(name)?;
        list.map(|texts| texts.iter().map(|text| parsed(name, text)).collect()).transpose()
    }

    /// The items of a list, parsed.
    ///
    /// # Errors
    /// As [`Parameters::list`], and those of the type.
    pub fn list_as<T: FromStr<Err = Error>>(&self, name: &str) -> Result<Vec<T>> {
        self.list(name)?.iter().map(|text| parsed(name, text)).collect()
    }
}

fn missing(name: &str) -> Error {
    Error::new(Kind::MissingParameter, format!("The parameter {name} is missing."))
}

fn parsed<T: FromStr<Err = Error>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error: Error| Error::new(error.kind(), format!("The parameter {name}: {}", error.message())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(text: &str) -> Parameters {
        Parameters::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn plus_and_percent_are_blanks() {
        let read = parameters("a=x+y&b=x%20y&c=%2B&d=&e");
        assert_eq!((read.optional("a"), read.optional("b"), read.optional("c")), (Some("x y"), Some("x y"), Some("+")));
        assert_eq!((read.optional("d"), read.optional("e"), read.optional("f")), (None, None, None));
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        assert!(parameters("a=1").union(parameters("b=1")).is_ok());
        for (query, form) in [("a=1", "a=1"), ("a=1&a=2", ""), ("", "b=1&b=2")] {
            let error = parameters(query).union(parameters(form)).err().unwrap();
            assert_eq!(error.kind(), Kind::InvalidParameter);
        }
    }

    #[test]
    fn lists_come_in_two_forms() {
        assert_eq!(parameters(r#"a=["x","y"]"#).list("a").unwrap(), ["x", "y"]);
        assert_eq!(parameters("a=x,%20y").list("a").unwrap(), ["x", "y"]);
        assert!(parameters("").list("a").unwrap().is_empty());
        for bad in ["a=[1]", "a=[", r#"a=["x""#] {
            assert!(parameters(bad).list("a").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_that_is_changed_is_no_empty_text() {
        assert_eq!(parameters("").optional_list("a").unwrap(), None);
        assert_eq!(parameters("a=[]").optional_list("a").unwrap(), Some(Vec::new()));
        assert_eq!(parameters("a=").optional_list("a").unwrap_err().kind(), Kind::InvalidParameter);
        assert!(parameters("a=").optional_list_as::<crate::model::Name>("a").is_err());
    }

    #[test]
    fn what_is_no_utf_8_is_no_other_text() {
        assert_eq!(parameters("a=%EF%BF%BD&%C3%A9=%c3%a9").optional("é"), Some("é"));
        for bad in ["a=%FF", "%FF=a", "a=%C3&b=%A9", "a=%C3", "a=%C3%28"] {
            assert_eq!(Parameters::parse(bad.as_bytes()).err().unwrap().kind(), Kind::InvalidParameter, "{bad}");
        }
        assert!(Parameters::parse(b"a=\xFF").is_err());
    }

    #[test]
    fn what_is_taken_apart_is_read_where_it_is_said_to_be() {
        let parts = "Tag.1.Key=a&Tag.1.Value=b&TagKey.1=c&Tags=d";
        assert!(parameters(parts).check_parts(&["Tag", "TagKey"]).is_ok() && parameters("a=b.c").check_parts(&[]).is_ok());
        for (read, named) in [(&["Tag"][..], "TagKey.1"), (&["Tags", "TagKey"], "Tag.1.Key"), (&[], "Tag.1.Key")] {
            let error = parameters(parts).check_parts(read).unwrap_err();
            assert!(error.kind() == Kind::InvalidParameter && error.message().contains(named), "{error}");
        }
        assert!(parameters(".=a").check_parts(&["Tag"]).is_err() && parameters("a.=").check_parts(&[]).is_err());
    }

    #[test]
    fn numbers_have_a_range() {
        assert_eq!(parameters("").number("PageSize", 1..=100, 10).unwrap(), 10);
        assert_eq!(parameters("PageSize=100").number("PageSize", 1..=100, 10).unwrap(), 100);
        for bad in ["PageSize=0", "PageSize=101", "PageSize=-1", "PageSize=x", "PageSize=1.5"] {
            assert!(parameters(bad).number("PageSize", 1..=100, 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_switch_is_true_or_false_in_capitals_or_not() {
        for (text, meant) in [("", None), ("a=true", Some(1)), ("a=True", Some(1)), ("a=false", Some(0)), ("a=FALSE", Some(0))] {
            assert_eq!(parameters(text).switch("a", 0, 1).unwrap(), meant, "{text}");
        }
        assert!(parameters("a=1").switch("a", 0, 1).is_err());
    }

    #[test]
    fn too_many_parameters_are_refused() {
        let many: String = (0..300).map(|number| format!("p{number}=1&")).collect();
        assert!(Parameters::parse(many.as_bytes()).is_err());
    }
}
