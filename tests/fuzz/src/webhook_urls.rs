//! URLs of webhooks: what is read goes to the machine and port that the text says, and its path is not shown.

use keystead::webhook::WebhookUrl;

use super::{Verdict, tells, text};

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let url = match text.parse::<WebhookUrl>() {
        Ok(url) => url,
        Err(error) => {
            tells(&error);
            return Verdict::Refused;
        }
    };
    let (scheme, rest) = text.split_once("://").expect("a scheme");
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().expect("a port")),
        Some(_) | None => (authority, if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 }),
    };
    assert_eq!(url.to_string(), format!("{}://{host}:{port}", scheme.to_ascii_lowercase()), "{text:?}");
    assert!(port > 0);
    let here = host == "localhost" || host.starts_with("127.") || host == "[::1]" || !url.to_string().starts_with("http:");
    assert!(here || url.to_string().contains("[:"), "{text:?} is on another machine");
    assert_eq!(url.to_string().parse::<WebhookUrl>().expect("what is shown is one").to_string(), url.to_string());
    Verdict::Taken
}
