//! Requests of the instance protocol from their message to their answer. Two texts: an operation's name, and the protobuf of its request;
//! keys are named by `alias/aes`, `alias/rsa`, `alias/ec`.

use keystead::server::in_process;
use keystead::wire::instance_protocol::Operation;

use super::installation::{self, Effect};
use super::{Verdict, text};

pub fn check(input: &[u8]) -> Verdict {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let name = text(&input[..at]).unwrap_or_default();
    let operation = name.parse().unwrap_or(Operation::Encrypt);
    let body = input.get(at + 1..).unwrap_or_default().to_vec();
    let served = installation::with(|installation| {
        installation
            .serve(Effect::None, |kms, _, caller| async move { in_process::instance(&kms, &caller, operation, None, &body).await })
    });
    Verdict::of(served.ok().as_ref())
}
