//! Answers as XML, for requests with `Format=XML`: the JSON answer with its names as elements.
//!
//! An object is an element for each name, a list an element of the list's name for each item.

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use serde_json::Value;

use crate::base::{Error, Result};

/// Puts a JSON object under a root element.
///
/// # Errors
/// [`Kind::UnsupportedOperation`](crate::base::Kind::UnsupportedOperation) when a text has characters that XML 1.0 cannot carry.
pub fn from_json(root: &str, json: &[u8]) -> Result<Vec<u8>> {
    let value = serde_json::from_slice(json).map_err(Error::internal)?;
    let mut xml = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_vec();
    write(&mut Writer::new(&mut xml), root, &value)?;
    Ok(xml)
}

fn write(writer: &mut Writer<&mut Vec<u8>>, name: &str, value: &Value) -> Result<()> {
    let mut event = |event: Event<'_>| writer.write_event(event).map_err(Error::internal);
    match value {
        Value::Array(items) => return items.iter().try_for_each(|item| write(writer, name, item)),
        Value::Null => return Ok(()),
        Value::Object(members) => {
            event(Event::Start(BytesStart::new(name)))?;
            members.iter().try_for_each(|(name, value)| write(writer, name, value))?;
        }
        Value::String(text) => {
            if !text.chars().all(is_xml) {
                return Err(Error::unsupported(format!(
                    "The answer's {name} has characters that XML does not have; ask for JSON."
                )));
            }
            event(Event::Start(BytesStart::new(name)))?;
            event(Event::Text(BytesText::new(text)))?;
        }
        Value::Bool(_) | Value::Number(_) => {
            event(Event::Start(BytesStart::new(name)))?;
            event(Event::Text(BytesText::new(&value.to_string())))?;
        }
    }
    writer.write_event(Event::End(BytesEnd::new(name))).map_err(Error::internal)
}

/// Production 2 of XML 1.0: Char.
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        String::from_utf8(from_json("KMS", json.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn names_become_elements() {
        let json =
            r#"{"Keys":{"Key":[{"KeyId":"a"},{"KeyId":"b"}]},"PageNumber":1,"Value":true,"Tags":[],"None":null,"Text":"<&> é"}"#;
        let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><KMS><Keys><Key><KeyId>a</KeyId></Key><Key><KeyId>b</KeyId></Key></Keys>\
                   <PageNumber>1</PageNumber><Text>&lt;&amp;&gt; é</Text><Value>true</Value></KMS>";
        assert_eq!(text(json), xml);
        assert_eq!(text("{}"), "<?xml version=\"1.0\" encoding=\"UTF-8\"?><KMS></KMS>");
    }

    #[test]
    fn what_xml_does_not_have_is_refused() {
        let error = from_json("KMS", br#"{"Plaintext":"\u0001"}"#).unwrap_err();
        assert!(error.message().contains("Plaintext"), "{error}");
    }
}
