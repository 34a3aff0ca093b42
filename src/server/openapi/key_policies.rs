//! The OpenAPI's operations on key policies: parameters in, use case, JSON out.

use super::Call;
use crate::base::Result;
use crate::wire::openapi::answers::{Done, PolicyTextAnswer};

pub(super) fn get_key_policy(call: &Call<'_>) -> Result<Vec<u8>> {
    let parameters = call.parameters;
    let policy = call.kms.key_policy(call.operator, parameters.required("KeyId")?, parameters.optional("PolicyName"))?;
    call.json(PolicyTextAnswer { policy })
}

pub(super) async fn set_key_policy(call: &Call<'_>) -> Result<Vec<u8>> {
    let parameters = call.parameters;
    let (key, name) = (parameters.required("KeyId")?, parameters.optional("PolicyName"));
    call.kms.set_key_policy(call.operator, key, name, parameters.required_as("Policy")?).await?;
    call.json(Done {})
}
