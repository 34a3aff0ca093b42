//! Tokens of temporary credentials: only the one that was given out is taken. The input is what is done to that, as to import tokens.

use super::import_tokens::changed;
use super::{Verdict, installation};

pub fn check(input: &[u8]) -> Verdict {
    installation::with(|installation| {
        let (id, genuine) = (installation.named("@session"), installation.named("@session-token"));
        let token = changed(genuine.as_bytes(), input);
        let Ok(token) = std::str::from_utf8(&token) else { return Verdict::Refused };
        let read = installation.kms().session(&id, token);
        assert_eq!(read.is_ok(), token == genuine, "{token}");
        if let Ok(credentials) = &read {
            assert_eq!((credentials.id.as_str(), credentials.session.role.as_str()), (&*id, installation::ROLE));
            // It is nobody else's.
            assert!(installation.kms().session("STS.aaaaaaaaaaaaaaaaaaaaaaaa", token).is_err());
        }
        Verdict::of(read.ok().as_ref())
    })
}
