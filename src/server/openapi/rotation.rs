//! The OpenAPI's operation on rotation policies, and what CreateKey says of one: parameters in, use case, JSON out.

use super::Call;
use crate::base::{Error, Kind, Result};
use crate::model::rotation::RotationInterval;
use crate::wire::openapi::answers::Done;

#[derive(Clone, Copy)]
enum Automatic {
    Off,
    On,
}

/// The interval of EnableAutomaticRotation and RotationInterval; without the former, or with rotation off, there is none, and clients
/// that send the latter all the same mean nothing by it.
pub(super) fn interval(call: &Call<'_>) -> Result<Option<RotationInterval>> {
    let interval = call.parameters.optional_as("RotationInterval")?;
    match (call.parameters.switch("EnableAutomaticRotation", Automatic::Off, Automatic::On)?, interval) {
        (None | Some(Automatic::Off), _) => Ok(None),
        (Some(Automatic::On), Some(interval)) => Ok(Some(interval)),
        (Some(Automatic::On), None) => {
            let text = "The parameter RotationInterval is missing; automatic rotation needs one, such as 365d.";
            Err(Error::new(Kind::MissingParameter, text))
        }
    }
}

pub(super) async fn update_rotation_policy(call: &Call<'_>) -> Result<Vec<u8>> {
    call.parameters.required("EnableAutomaticRotation")?;
    call.kms.update_rotation_policy(call.operator, call.parameters.required("KeyId")?, interval(call)?).await?;
    call.json(Done {})
}
