//! The OpenAPI's operations on network rules, policies, access points and client keys: parameters in, use case, JSON out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Call;
use crate::base::{Error, Kind, Result, SecretBytes, Timestamp, excerpt};
use crate::model::access::{AccessPoint, AuthenticationMethod, ClientKey, NetworkRule, Permission, Policy};
use crate::model::{ClientKeyId, Name};
use crate::service::certificates::certificate_pem;
use crate::service::requests::{CreateAccessPoint, CreateClientKey, CreateNetworkRule, CreatePolicy, PolicyChange};
use crate::wire::openapi::access_control_rules;
use crate::wire::openapi::answers::{
    ApplicationAccessPointAnswer, ApplicationAccessPointItem, ApplicationAccessPoints, ClientKeyAnswer, ClientKeysAnswer,
    CreatedClientKeyAnswer, Done, NetworkRuleAnswer, NetworkRuleItem, NetworkRules, Policies, PolicyAnswer, PolicyItem, compact,
};
use crate::wire::{arn, date};

/// The only algorithm of client keys.
const KEY_ALGORITHM: &str = "RSA_2048";

fn name(call: &Call<'_>) -> Result<Name> {
    call.parameters.required_as("Name")
}

fn description(call: &Call<'_>) -> String {
    call.parameters.optional("Description").unwrap_or_default().to_owned()
}

pub(super) async fn create_network_rule(call: &Call<'_>) -> Result<Vec<u8>> {
    let request = CreateNetworkRule {
        name: name(call)?,
        kind: call.parameters.required_as("Type")?,
        sources: call.parameters.list("SourcePrivateIp")?,
        description: description(call),
    };
    let rule = call.kms.create_network_rule(call.operator, request).await?;
    let name = Some(rule.name.to_string());
    call.json(NetworkRuleAnswer { name, ..network_rule(rule) })
}

pub(super) async fn update_network_rule(call: &Call<'_>) -> Result<Vec<u8>> {
    let sources = call.parameters.optional_list("SourcePrivateIp")?;
    let description = call.parameters.maybe_empty("Description");
    call.kms.update_network_rule(call.operator, &name(call)?, sources, description).await?;
    call.json(Done {})
}

pub(super) fn describe_network_rule(call: &Call<'_>) -> Result<Vec<u8>> {
    call.json(network_rule(call.kms.describe_network_rule(call.operator, &name(call)?)?))
}

fn network_rule(rule: NetworkRule) -> NetworkRuleAnswer {
    NetworkRuleAnswer {
        arn: arn("network", &rule.name),
        description: rule.description,
        name: None,
        source_private_ip: compact(&rule.sources_text),
        r#type: rule.kind.name(),
    }
}

pub(super) fn list_network_rules(call: &Call<'_>) -> Result<Vec<u8>> {
    let listed = call.kms.list_network_rules(call.operator, call.page(20)?);
    let item = |rule: &NetworkRule| NetworkRuleItem { name: rule.name.to_string(), r#type: rule.kind.name().to_owned() };
    call.json_list(NetworkRules::new(listed.items.iter().map(item).collect()), listed.page, listed.total)
}

pub(super) async fn delete_network_rule(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.delete_network_rule(call.operator, &name(call)?).await?;
    call.json(Done {})
}

pub(super) async fn create_policy(call: &Call<'_>) -> Result<Vec<u8>> {
    let rules_text = call.parameters.optional("AccessControlRules").unwrap_or_default().to_owned();
    call.parameters.required("Permissions")?;
    call.parameters.required("Resources")?;
    let request = CreatePolicy {
        name: name(call)?,
        scope: call.parameters.required_as("KmsInstance")?,
        permissions: call.parameters.list_as("Permissions")?,
        resources: call.parameters.list_as("Resources")?,
        rules: access_control_rules(&rules_text)?.unwrap_or_default(),
        rules_text,
        description: description(call),
    };
    let policy = call.kms.create_policy(call.operator, request).await?;
    call.json(policy_answer(policy, |items| compact(&items)))
}

pub(super) async fn update_policy(call: &Call<'_>) -> Result<Vec<u8>> {
    let change = PolicyChange {
        permissions: call.parameters.optional_list_as("Permissions")?,
        resources: call.parameters.optional_list_as("Resources")?,
        // An empty text and an empty object are refused: that any address may come is said by an empty list.
        rules: match call.parameters.maybe_empty("AccessControlRules") {
            None => None,
            Some(text) => Some((access_control_rules(text)?.ok_or_else(no_rules)?, text.to_owned())),
        },
        description: call.parameters.maybe_empty("Description").map(str::to_owned),
    };
    call.kms.update_policy(call.operator, &name(call)?, &change).await?;
    call.json(Done {})
}

fn no_rules() -> Error {
    Error::invalid(
        "The parameter AccessControlRules has no NetworkRules: leave it out to keep those of the policy; {\"NetworkRules\":[]} lets any \
         address in.",
    )
}

pub(super) fn describe_policy(call: &Call<'_>) -> Result<Vec<u8>> {
    let policy = call.kms.describe_policy(call.operator, &name(call)?)?;
    call.json(policy_answer(policy, |items| items))
}

fn policy_answer<L>(policy: Policy, list: impl Fn(Vec<String>) -> L) -> PolicyAnswer<L> {
    PolicyAnswer {
        arn: arn("policy", &policy.name),
        access_control_rules: policy.rules_text,
        description: policy.description,
        kms_instance: policy.scope.to_string(),
        permissions: list(policy.permissions.iter().map(|permission: &Permission| permission.name().to_owned()).collect()),
        resources: list(policy.resources.iter().map(ToString::to_string).collect()),
        name: policy.name.to_string(),
    }
}

pub(super) fn list_policies(call: &Call<'_>) -> Result<Vec<u8>> {
    let listed = call.kms.list_policies(call.operator, call.page(20)?);
    let item = |policy: &Policy| PolicyItem { name: policy.name.to_string() };
    call.json_list(Policies::new(listed.items.iter().map(item).collect()), listed.page, listed.total)
}

pub(super) async fn delete_policy(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.delete_policy(call.operator, &name(call)?).await?;
    call.json(Done {})
}

pub(super) async fn create_access_point(call: &Call<'_>) -> Result<Vec<u8>> {
    call.parameters.required("Policies")?;
    let request = CreateAccessPoint {
        name: name(call)?,
        method: call.parameters.optional_as("AuthenticationMethod")?.unwrap_or(AuthenticationMethod::ClientKey),
        policies: call.parameters.list_as("Policies")?,
        description: description(call),
    };
    call.json(access_point(call.kms.create_access_point(call.operator, request).await?))
}

pub(super) async fn update_access_point(call: &Call<'_>) -> Result<Vec<u8>> {
    let policies = call.parameters.optional_list_as("Policies")?;
    let description = call.parameters.maybe_empty("Description");
    call.kms.update_access_point(call.operator, &name(call)?, policies, description).await?;
    call.json(Done {})
}

pub(super) fn describe_access_point(call: &Call<'_>) -> Result<Vec<u8>> {
    call.json(access_point(call.kms.describe_access_point(call.operator, &name(call)?)?))
}

fn access_point(access_point: AccessPoint) -> ApplicationAccessPointAnswer {
    ApplicationAccessPointAnswer {
        arn: arn("applicationaccesspoint", &access_point.name),
        authentication_method: access_point.callers.method().name(),
        description: access_point.description,
        policies: compact(&access_point.policies.iter().map(ToString::to_string).collect::<Vec<_>>()),
        name: access_point.name.to_string(),
    }
}

pub(super) fn list_access_points(call: &Call<'_>) -> Result<Vec<u8>> {
    let listed = call.kms.list_access_points(call.operator, call.page(20)?);
    let item = |point: &AccessPoint| ApplicationAccessPointItem {
        authentication_method: point.callers.method().name().to_owned(),
        name: point.name.to_string(),
    };
    call.json_list(ApplicationAccessPoints::new(listed.items.iter().map(item).collect()), listed.page, listed.total)
}

pub(super) async fn delete_access_point(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.delete_access_point(call.operator, &name(call)?).await?;
    call.json(Done {})
}

pub(super) async fn create_client_key(call: &Call<'_>) -> Result<Vec<u8>> {
    let request = CreateClientKey {
        access_point: call.parameters.required_as("AapName")?,
        password: SecretBytes::new(call.parameters.required("Password")?.as_bytes().to_vec()),
        validity: validity(call)?,
    };
    let created = call.kms.create_client_key(call.operator, request).await?;
    call.json(CreatedClientKeyAnswer {
        client_key_id: created.client_key.id.to_string(),
        key_algorithm: KEY_ALGORITHM,
        not_after: date::to_iso(created.client_key.not_after),
        not_before: date::to_iso(created.client_key.not_before),
        private_key_data: STANDARD.encode(created.private_key.expose()),
    })
}

/// Both dates or neither.
fn validity(call: &Call<'_>) -> Result<Option<(Timestamp, Timestamp)>> {
    let read = |name: &str| match call.parameters.optional(name) {
        None => Ok(None),
        Some(text) => {
            let date = date::from_iso(text)
                .ok_or_else(|| Error::invalid(format!("The parameter {name} is of the form yyyy-MM-ddTHH:mm:ssZ.")));
            date.map(Some)
        }
    };
    match (read("NotBefore")?, read("NotAfter")?) {
        (None, None) => Ok(None),
        (Some(from), Some(until)) => Ok(Some((from, until))),
        (Some(_), None) => Err(Error::new(Kind::MissingParameter, "The parameter NotAfter is missing; NotBefore comes with it.")),
        (None, Some(_)) => Err(Error::new(Kind::MissingParameter, "The parameter NotBefore is missing; NotAfter comes with it.")),
    }
}

/// A malformed id is the id of no client key.
fn client_key_id(call: &Call<'_>) -> Result<ClientKeyId> {
    let text = call.parameters.required("ClientKeyId")?;
    let shown = excerpt(text);
    text.parse().map_err(|_| Error::new(Kind::ResourceNotFound, format!("There is no client key {shown:?}.")))
}

pub(super) fn get_client_key(call: &Call<'_>) -> Result<Vec<u8>> {
    call.json(client_key(&call.kms.describe_client_key(call.operator, &client_key_id(call)?)?))
}

pub(super) fn list_client_keys(call: &Call<'_>) -> Result<Vec<u8>> {
    let access_point: Option<Name> = call.parameters.optional_as("AapName")?;
    let listed = call.kms.list_client_keys(call.operator, access_point.as_ref())?;
    call.json(ClientKeysAnswer { client_keys: listed.iter().map(client_key).collect() })
}

fn client_key(key: &ClientKey) -> ClientKeyAnswer {
    ClientKeyAnswer {
        aap_name: key.access_point.to_string(),
        client_key_id: key.id.to_string(),
        create_time: date::to_iso(key.created),
        key_algorithm: KEY_ALGORITHM,
        key_origin: "KMS_PROVIDED",
        not_after: date::to_iso(key.not_after),
        not_before: date::to_iso(key.not_before),
        public_key_data: certificate_pem(&key.certificate),
    }
}

pub(super) async fn delete_client_key(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.delete_client_key(call.operator, &client_key_id(call)?).await?;
    call.json(Done {})
}
