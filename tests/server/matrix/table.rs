//! What is to be answered: one line for many cells of the matrix, the first that fits decides. Written from what is promised, not from
//! the program; a line that fits no cell is a mistake and fails the test.
//!
//! `served`: it is done, 200. `missing`: the code by which the operation says that there is no such thing, [`MISSING`].

use super::Cell;

/// The answers by which nobody was let in; how they are spelt is the protocol's.
const DENIED: &str = "403 Forbidden.NoPermission";

/// Operation, endpoint, credential, resource, address, answer; `any`, some with `|` between them, or all `but` those.
type Line = [&'static str; 6];

/// The instance protocol. Its callers have client keys; what those may is bound to one instance and to the policies' addresses.
const INSTANCE_PROTOCOL: &[Line] = &[
    // It is not spoken at the shared gateway, which looks for the name of an operation, and reads no body but a form.
    ["GetSecretValue", "shared gateway", "any", "any", "any", "400 MissingParameter"],
    ["any", "shared gateway", "any", "any", "any", "400 InvalidParameter"],
    // Who is calling comes before everything that a request is about.
    ["any", "any", "none", "any", "any", "400 MissingParameter"],
    ["any", "any", "wrong signature", "any", "any", "401 SignatureNotMatch"],
    ["any", "any", "old date", "any", "any", "400 RequestTimeTooSkewed"],
    ["any", "any", "unknown", "any", "any", "404 Unauthorized"],
    ["any", "any", "administrator|session", "any", "any", "404 Unauthorized"],
    ["any", "any", "expired client key|future client key", "any", "any", DENIED],
    // Secrets are not served yet, and that is all there is to know of them.
    ["GetSecretValue", "any", "any", "any", "any", "400 UnsupportedOperation"],
    // Whose access point has no policy that is there, or one for secrets, or for the shared gateway, does nothing with keys.
    ["any", "any", "no policy|secret user|shared", "any", "any", DENIED],
    // Policies speak of one instance.
    ["any", "other instance", "any", "any", "any", DENIED],
    // One that names its keys, and addresses: what is not named is denied, whether it is there or not.
    ["any", "own instance", "key user", "any", "outside", DENIED],
    ["any", "own instance", "key user", "in scope|none", "inside", "served"],
    ["any", "own instance", "key user", "of the other instance", "inside", "missing"],
    ["any", "own instance", "key user", "out of scope|absent", "inside", DENIED],
    // One that names every key, and no address.
    ["any", "own instance", "key user of all", "in scope|out of scope|none", "any", "served"],
    ["any", "own instance", "key user of all", "of the other instance|absent", "any", "missing"],
];

/// The cryptography of the OpenAPI that needs one key.
macro_rules! with_one_key {
    () => {
        "Encrypt|Decrypt|GenerateDataKey|GenerateDataKeyWithoutPlaintext|AsymmetricEncrypt|AsymmetricDecrypt|AsymmetricSign|\
         AsymmetricVerify|GetPublicKey|ExportDataKey|GenerateAndExportDataKey|GenerateMac|VerifyMac"
    };
}
/// What instance endpoints do not serve of the OpenAPI.
const AT_SHARED_GATEWAY: &str = concat!("but ", with_one_key!());
/// What access points grant to sessions.
const CRYPTOGRAPHY: &str = concat!(with_one_key!(), "|ReEncrypt");

/// The OpenAPI. Its callers have AccessKeys; what those may is said by statements, whatever the instance, and to the sessions of a role
/// that has an access point also by policies, as to client keys.
const OPENAPI: &[Line] = &[
    // Who is calling comes before everything that a request is about.
    ["any", "any", "none", "any", "any", "400 MissingParameter"],
    ["any", "any", "wrong signature", "any", "any", "400 SignatureDoesNotMatch"],
    ["any", "any", "old date", "any", "any", "400 IllegalTimestamp"],
    ["any", "any", "unknown|key user of all", "any", "any", "403 InvalidAccessKeyId.NotFound"],
    ["any", "any", "disabled AccessKey", "any", "any", "403 Forbidden.AccessKey"],
    ["any", "any", "expired session", "any", "any", "400 InvalidSecurityToken.Expired"],
    [AT_SHARED_GATEWAY, "own instance|other instance", "any", "any", "any", "400 UnsupportedOperation"],
    // An access point grants the use of keys, those that its policies name, to the addresses inside, on their instance.
    [CRYPTOGRAPHY, "own instance|shared gateway", "session with access point", "in scope", "inside", "served"],
    [CRYPTOGRAPHY, "own instance", "session with access point", "of the other instance", "inside", "missing"],
    ["any", "any", "session with access point", "any", "any", DENIED],
    // No statement, which is none for what is absent either; what a session's policy allows its role does not have.
    ["any", "any", "no statement|session of nothing", "any", "any", DENIED],
    // All statements speak of the addresses inside; the root needs none.
    ["any", "any", "exactly|other actions|other resource|denied|session|narrowed session", "any", "outside", DENIED],
    // Every action but that of the operation, on everything; or every action, and a session policy with another one.
    ["any", "any", "other actions|narrowed session", "any", "inside", DENIED],
    // That action alone, on that resource alone; a session policy with the action adds nothing.
    ["any", "any", "exactly|session", "out of scope|of the other instance|absent", "inside", DENIED],
    // That action alone, on the resource that is out of scope for the one before.
    ["any", "any", "other resource", "in scope|of the other instance|absent|none", "inside", DENIED],
    // Everything, but not this on the resource in scope.
    ["any", "any", "denied", "in scope|none", "inside", DENIED],
    // The rest is allowed. An instance endpoint reaches the keys of its instance.
    ["any", "any", "denied|administrator", "absent", "any", "missing"],
    ["any", "own instance", "denied|administrator", "of the other instance", "any", "missing"],
    ["any", "other instance", "exactly|session|other resource|denied|administrator", "in scope|out of scope", "any", "missing"],
    ["any", "any", "exactly|session", "in scope|none", "inside", "served"],
    ["any", "any", "other resource", "out of scope", "inside", "served"],
    ["any", "any", "denied", "out of scope|of the other instance", "inside", "served"],
    ["any", "any", "administrator", "in scope|out of scope|of the other instance|none", "any", "served"],
];

/// By which code an operation misses what it is about: the first line that fits.
const MISSING: &[[&str; 2]] = &[
    ["TagResources|UntagResources|ListTagResources", "404 InvalidResourceId.NotFound"],
    ["DeleteAlias", "404 Forbidden.AliasNotFound"],
    ["GetKmsInstance", "403 Forbidden.DKMSInstanceNotFound"],
    ["GetKmsInstanceQuotaInfos", "403 Forbidden.DKMSInstanceNotFound"],
    ["DescribeNetworkRule|UpdateNetworkRule|DeleteNetworkRule", "404 Forbidden.ResourceNotFound"],
    ["DescribePolicy|UpdatePolicy|DeletePolicy", "404 Forbidden.ResourceNotFound"],
    ["DescribeApplicationAccessPoint|UpdateApplicationAccessPoint", "404 Forbidden.ResourceNotFound"],
    ["DeleteApplicationAccessPoint|CreateClientKey|ListClientKeys", "404 Forbidden.ResourceNotFound"],
    ["GetClientKey|DeleteClientKey", "404 Forbidden.ResourceNotFound"],
    // The same as for what else can be wrong with a ciphertext.
    ["AdvanceDecrypt", "400 InvalidParameter"],
    ["any", "404 Forbidden.KeyNotFound"],
];

fn fits(written: &str, is: &str) -> bool {
    let listed = |names: &str| names.split('|').any(|one| one == is);
    match written.strip_prefix("but ") {
        Some(others) => !listed(others),
        None => written == "any" || listed(written),
    }
}

/// The tables, and which of their lines were needed.
pub(super) struct Tables {
    used: [Vec<bool>; 3],
}

impl Tables {
    pub(super) fn new() -> Self {
        Self { used: [INSTANCE_PROTOCOL.len(), OPENAPI.len(), MISSING.len()].map(|lines| vec![false; lines]) }
    }

    /// The answer that a cell is to get: a status, and a code unless it is 200.
    pub(super) fn answer(&mut self, cell: &Cell) -> &'static str {
        let (at, table) = match cell.request {
            super::Asked::Instance(_) => (0, INSTANCE_PROTOCOL),
            super::Asked::OpenApi(_) => (1, OPENAPI),
        };
        let columns = cell.columns();
        let line = table.iter().position(|line| line.iter().zip(columns).all(|(written, is)| fits(written, is)));
        let line = line.unwrap_or_else(|| panic!("no line for {cell}"));
        self.used[at][line] = true;
        match table[line][5] {
            "served" => "200",
            "missing" => self.missing(cell.request.name()),
            answer => answer,
        }
    }

    fn missing(&mut self, operation: &str) -> &'static str {
        let line = MISSING.iter().position(|[operations, _]| fits(operations, operation)).expect("the last line fits all");
        self.used[2][line] = true;
        MISSING[line][1]
    }

    /// Lines that no cell needed.
    pub(super) fn unused(&self) -> Vec<String> {
        let lines = |at: usize, table: Vec<String>| {
            table.into_iter().zip(&self.used[at]).filter(|(_, used)| !**used).map(|(line, _)| line).collect::<Vec<_>>()
        };
        [
            lines(0, INSTANCE_PROTOCOL.iter().map(|line| line.join(", ")).collect()),
            lines(1, OPENAPI.iter().map(|line| line.join(", ")).collect()),
            lines(2, MISSING.iter().map(|line| line.join(", ")).collect()),
        ]
        .concat()
    }
}
