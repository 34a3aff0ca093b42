//! EncryptionContext in the parameters of a request, in each of its forms, and what is authenticated for it. One text: the parameters as
//! in a query.

use keystead::base::Error;
use keystead::wire::openapi::{Action, EncryptionContext, Parameters, aads_alike, refuse_unread_contexts};
use keystead::wire::signing::sha256_hex;
use serde_json::Value;

use super::{Verdict, forms, json, tells};

const NAME: &str = "EncryptionContext";
/// The most characters.
const LIMIT: usize = 8192;

/// What a request has of a context.
struct Expected {
    /// By key.
    pairs: Vec<(String, String)>,
    /// The JSON text that it came as.
    text: Option<String>,
}

pub fn check(input: &[u8]) -> Verdict {
    assert_eq!(aads_alike(input.to_vec())[0], input);
    let Ok(parameters) = Parameters::parse(input).and_then(|read| read.union(Parameters::default())) else {
        return Verdict::Refused;
    };
    let sent = forms::pairs(input);
    let refused = refuse_unread_contexts(&parameters, Action::Encrypt).inspect_err(tells).is_err();
    assert_eq!(refused, sent.iter().any(|(name, value)| is_unread(name, value)), "{sent:?}");
    match (EncryptionContext::read(&parameters, NAME), expected(&sent)) {
        (Ok(context), Some(expected)) => {
            agrees(&context, &expected);
            in_another_form(&context, &expected.pairs);
            Verdict::Taken
        }
        (Err(error), None) => {
            tells(&error);
            Verdict::Refused
        }
        (Ok(context), None) => panic!("{sent:?}: {context:?}"),
        (Err(error), Some(_)) => panic!("{sent:?}: {error:?}"),
    }
}

fn is_unread(name: &str, value: &str) -> bool {
    let word: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let named = word.to_ascii_lowercase().contains("encryptioncontext");
    let read = name == NAME || name.starts_with("EncryptionContext.");
    named && !read && (!value.is_empty() || name.contains('.'))
}

fn expected(sent: &[(String, String)]) -> Option<Expected> {
    let of = |name: String| sent.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let text = of(NAME.to_owned()).filter(|text| !text.is_empty());
    let parts: Vec<_> = sent.iter().filter(|(name, _)| name.starts_with("EncryptionContext.")).collect();
    let mut pairs = match &text {
        Some(_) if !parts.is_empty() => return None,
        Some(text) if text.chars().count() > LIMIT => return None,
        Some(text) => {
            let member = |(key, value)| match value {
                Value::String(value) => Some((key, value)),
                _ => None,
            };
            json::members(text)?.into_iter().map(member).collect::<Option<Vec<_>>>()?
        }
        None => {
            let mut pairs = Vec::new();
            for (name, value) in parts {
                let words: Vec<_> = name.split('.').collect();
                let numbered = |half: &str| of(format!("{NAME}.{}.{half}", words[1]));
                match words[..] {
                    [_, number, "Key"] if is_number(number) && numbered("Value").is_some() => {
                        pairs.push((value.clone(), numbered("Value").expect("it was looked for")));
                    }
                    [_, number, "Value"] if is_number(number) && numbered("Key").is_some() => {}
                    _ => pairs.push((name[NAME.len() + 1..].to_owned(), value.clone())),
                }
            }
            pairs
        }
    };
    pairs.sort();
    let twice = pairs.windows(2).any(|two| two[0].0 == two[1].0);
    let characters: usize = pairs.iter().map(|(key, value)| key.chars().count() + value.chars().count()).sum();
    (!twice && characters <= LIMIT).then_some(Expected { pairs, text })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|digit| digit.is_ascii_digit())
}

fn agrees(context: &EncryptionContext, Expected { pairs, text }: &Expected) {
    let (aad, binding) = (context.aad(), context.binding());
    assert_eq!((binding.aads[0].clone(), context.is_empty()), (aad.clone(), pairs.is_empty()));
    let joined = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&");
    // Taken apart again, it is another context.
    let apart: Vec<_> = joined.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    let same = apart.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).eq(pairs.iter().cloned());
    let hash = sha256_hex(joined.as_bytes());
    let hexed: String = aad.iter().map(|byte| format!("{byte:02x}")).collect();
    let tried = |aads: &[Vec<u8>]| aads.iter().any(|aad| aad == hash.as_bytes());
    if pairs.is_empty() {
        assert!(aad.is_empty());
        assert_eq!(tried(&binding.aads), text.is_some());
    } else if same {
        assert_eq!(hexed, hash);
        assert!(tried(&binding.aads) && aads_alike(aad.clone()).contains(&hash.clone().into_bytes()));
    } else {
        let encoded: Vec<_> = pairs.iter().map(|(key, value)| forms::encoded(key) + "=" + &forms::encoded(value)).collect();
        assert_eq!(hexed, sha256_hex(format!("&{}", encoded.join("&")).as_bytes()));
        assert!(!tried(&binding.aads) && tried(&binding.former_aads));
    }
    if let Some(text) = text {
        assert!(binding.aads.contains(&text.clone().into_bytes()));
        // What an older transfer client sends opens what the gateway made.
        assert!(aads_alike(text.clone().into_bytes()).contains(&aad));
    }
    let ignored_once = text.is_none() && !pairs.is_empty();
    assert_eq!(binding.former_aads.contains(&Vec::new()), ignored_once);
}

/// Neither the form nor blanks nor the order mean anything.
fn in_another_form(context: &EncryptionContext, pairs: &[(String, String)]) {
    let members: Vec<_> = pairs
        .iter()
        .rev()
        .map(|(key, value)| format!(" {} :\n{}", Value::from(key.as_str()), Value::from(value.as_str())))
        .collect();
    let object = format!("{{{} }}", members.join(" ,\t"));
    let flattened: Vec<_> = pairs
        .iter()
        .enumerate()
        .flat_map(|(number, (key, value))| {
            [format!("{NAME}.{number}.Key={}", forms::encoded(key)), format!("{NAME}.{number}.Value={}", forms::encoded(value))]
        })
        .collect();
    if object.chars().count() <= LIMIT {
        assert_eq!(read(&format!("{NAME}={}", forms::encoded(&object))).expect("the same object").aad(), context.aad());
    }
    // A request has at most 256 parameters.
    if pairs.len() <= 128 {
        assert_eq!(read(&flattened.join("&")).expect("the same pairs").aad(), context.aad());
    }
}

fn read(query: &str) -> Result<EncryptionContext, Error> {
    EncryptionContext::read(&Parameters::parse(query.as_bytes())?, NAME)
}
