//! Which parameters name a context, in the forms of all clients. What names one and is not read is refused: a client that encrypts with a
//! context must not get a ciphertext that opens without one.

use super::super::{Action, Parameters};
use crate::base::{Error, Result, excerpt};

/// The operations with a parameter EncryptionContext.
const WITH_CONTEXT: &[Action] = &[
    Action::Encrypt,
    Action::Decrypt,
    Action::GenerateDataKey,
    Action::GenerateDataKeyWithoutPlaintext,
    Action::GenerateAndExportDataKey,
    Action::ExportDataKey,
];

/// What a request has of a context.
pub(super) enum Given<'a> {
    /// Nothing, or an empty text.
    Nothing,
    /// A text, which should be JSON.
    Json(&'a str),
    /// At least one pair, each in parameters of its own.
    Flattened(Vec<(String, String)>),
}

/// What a request has of the context of this name.
pub(super) fn given<'a>(parameters: &'a Parameters, name: &str) -> Result<Given<'a>> {
    let pairs = flattened(parameters, name);
    match (parameters.optional(name), pairs.is_empty()) {
        (None, true) => Ok(Given::Nothing),
        (Some(text), true) => Ok(Given::Json(text)),
        (None, false) => Ok(Given::Flattened(pairs)),
        (Some(_), false) => {
            Err(Error::invalid(format!("The parameter {name} is given as JSON and as parameters {name}.<key>; give one of them.")))
        }
    }
}

/// The pairs of the parameters `NAME.…`. `NAME.1.Key` and `NAME.1.Value` are one pair when both were sent; otherwise what follows
/// `NAME.` is a key.
fn flattened(parameters: &Parameters, name: &str) -> Vec<(String, String)> {
    let parts = parameters.pairs().iter().filter_map(|(known, value)| Some((part_of(known, name)?, value.as_str())));
    let parts: Vec<(&str, &str)> = parts.collect();
    let part = |name: String| parts.iter().find(|(part, _)| *part == name).map(|(_, value)| *value);
    let pair = |&(key, value): &(&str, &str)| {
        let numbered = key.split_once('.').filter(|(number, _)| is_number(number));
        let (key, value) = match numbered {
            Some((number, "Key")) => part(format!("{number}.Value")).map_or((key, value), |of_pair| (value, of_pair)),
            // Read with its key.
            Some((number, "Value")) if part(format!("{number}.Key")).is_some() => return None,
            Some(_) | None => (key, value),
        };
        Some((key.to_owned(), value.to_owned()))
    };
    parts.iter().filter_map(pair).collect()
}

/// What follows `NAME.` in the name of a parameter.
fn part_of<'a>(parameter: &'a str, name: &str) -> Option<&'a str> {
    parameter.strip_prefix(name)?.strip_prefix('.')
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The names of the contexts that the operation reads.
pub(in crate::wire::openapi) fn contexts_of(action: Action) -> &'static [&'static str] {
    if action == Action::ReEncrypt {
        &["SourceEncryptionContext", "DestinationEncryptionContext"]
    } else if WITH_CONTEXT.contains(&action) {
        &["EncryptionContext"]
    } else {
        &[]
    }
}

/// Refuses what names a context that the operation does not read: of an operation without one, of another name, or in another spelling.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter), naming the parameter and what the operation reads.
pub fn refuse_unread_contexts(parameters: &Parameters, action: Action) -> Result<()> {
    let read = contexts_of(action);
    let is_read = |name: &str| read.iter().any(|context| name == *context || part_of(name, context).is_some());
    let unread = parameters.pairs().iter().find(|(name, value)| {
        // An empty text has no pairs; the value of a pair may be empty.
        names_a_context(name) && !is_read(name) && (!value.is_empty() || name.contains('.'))
    });
    let Some((name, _)) = unread else { return Ok(()) };
    let (name, operation) = (excerpt(name), action.name());
    Err(Error::invalid(match read {
        [] => format!("The operation {operation} has no EncryptionContext: leave out the parameter {name:?}."),
        read => {
            let first = read[0];
            format!(
                "The operation {operation} does not read the parameter {name:?}: it reads {}, as JSON or as {first}.<key>.",
                read.join(" and ")
            )
        }
    }))
}

/// Whether the name of a parameter has the word in it, in whatever spelling.
fn names_a_context(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    letters.contains("encryptioncontext")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        let parameters = Parameters::parse(query.as_bytes()).unwrap();
        match given(&parameters, "EncryptionContext").unwrap() {
            Given::Flattened(pairs) => pairs,
            Given::Nothing | Given::Json(_) => Vec::new(),
        }
    }

    #[test]
    fn each_name_is_a_key_and_two_that_are_numbered_are_a_pair() {
        for (query, expected) in [
            ("EncryptionContext.tenant=a&EncryptionContext.shop=b", &[("tenant", "a"), ("shop", "b")][..]),
            ("EncryptionContext.1.Value=a&EncryptionContext.1.Key=tenant", &[("tenant", "a")]),
            ("EncryptionContext.1.Key=k&EncryptionContext.1.Value=&EncryptionContext.2.Key=l", &[("k", ""), ("2.Key", "l")]),
            ("EncryptionContext.1.Value=v&EncryptionContext.2.Key=k", &[("1.Value", "v"), ("2.Key", "k")]),
            ("EncryptionContext.a.Key=k&EncryptionContext.a.Value=v", &[("a.Key", "k"), ("a.Value", "v")]),
            ("EncryptionContext.1.Key.x=k&EncryptionContext.1.Value=v", &[("1.Key.x", "k"), ("1.Value", "v")]),
            ("EncryptionContext.a.b=1&EncryptionContext.=2&EncryptionContext.c=", &[("a.b", "1"), ("", "2"), ("c", "")]),
            ("EncryptionContextual=1&SourceEncryptionContext.a=1&EncryptionContext=", &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(pairs(query), expected, "{query}");
        }
    }

    #[test]
    fn what_names_a_context_and_is_not_read_is_refused() {
        let refused = |action, query: &str| {
            let parameters = Parameters::parse(query.as_bytes()).unwrap();
            refuse_unread_contexts(&parameters, action).err().map(|error| error.message().to_owned())
        };
        for (action, query) in [
            (Action::Encrypt, "EncryptionContext={}&EncryptionContext.a=b"),
            (Action::ReEncrypt, "SourceEncryptionContext.1.Key=a&DestinationEncryptionContext={}"),
            (Action::DescribeKey, "KeyId=EncryptionContext&EncryptionContext="),
        ] {
            assert_eq!(refused(action, query), None, "{query}");
        }
        for (action, query, said) in [
            (
                Action::Encrypt,
                "encryptionContext={\"a\":\"b\"}",
                "it reads EncryptionContext, as JSON or as EncryptionContext.<key>",
            ),
            (Action::Encrypt, "EncryptionContext[a]=b", "EncryptionContext[a]"),
            (Action::Encrypt, "EncryptionContextShrink={}", "EncryptionContextShrink"),
            (Action::Encrypt, "Encryption_Context.a=", "Encryption_Context.a"),
            (Action::Decrypt, "SourceEncryptionContext={}", "it reads EncryptionContext,"),
            (Action::ReEncrypt, "EncryptionContext={}", "SourceEncryptionContext and DestinationEncryptionContext"),
            (Action::AsymmetricEncrypt, "EncryptionContext.a=b", "AsymmetricEncrypt has no EncryptionContext"),
            (Action::GenerateMac, "EncryptionContext={}", "GenerateMac has no EncryptionContext"),
        ] {
            let text = refused(action, query).unwrap_or_default();
            assert!(text.contains(said), "{query}: {text}");
        }
    }
}
