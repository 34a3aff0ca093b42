//! What RPC signatures of the OpenAPI sign. One text: query and form body.

use keystead::base::SecretBytes;
use keystead::wire::openapi::Parameters;
use keystead::wire::signing::{RpcMethod, rpc_sign, rpc_string_to_sign, rpc_verifies};

use super::{Verdict, forms};

pub fn check(input: &[u8]) -> Verdict {
    let Ok(parameters) = Parameters::parse(input) else { return Verdict::Refused };
    let pairs = parameters.pairs();
    let signed: Vec<_> = pairs.iter().filter(|(name, _)| name != "Signature").cloned().collect();
    let canonical = forms::canonical(&signed);
    let text = rpc_string_to_sign("POST", pairs);
    assert_eq!(text, format!("POST&%2F&{}", forms::encoded(&canonical)));

    // The order means nothing, nor does the signature itself.
    let turned: Vec<_> = signed.iter().rev().cloned().collect();
    assert_eq!(rpc_string_to_sign("POST", &turned), text);
    // Made canonical again it is the same, and says what was sent: two requests that differ are signed differently.
    let again = Parameters::parse(canonical.as_bytes()).expect("no more than before");
    let (mut sent, mut said) = (signed, again.pairs().to_vec());
    sent.sort();
    said.sort();
    assert_eq!(said, sent);
    assert_eq!(rpc_string_to_sign("POST", again.pairs()), text);

    let secret = SecretBytes::new(b"testsecret".to_vec());
    for method in [RpcMethod::HmacSha1, RpcMethod::HmacSha256] {
        let signature = rpc_sign(method, &text, &secret);
        assert!(rpc_verifies(method, &text, &secret, &signature));
        assert!(!rpc_verifies(method, &rpc_string_to_sign("GET", pairs), &secret, &signature));
    }
    Verdict::Taken
}
