//! `keystead operator ...`: who may call the OpenAPI, by which policies, and the AccessKeys that they get. Needs the root key and no
//! AccessKey; a running server knows of changes within a second.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::assembly;
use super::audit::{Done, Witness};
use super::files::{check_folder, until_known, write_new_secret};
use crate::app::output::say;
use crate::base::{Clock, Error, Kind, Result, SecretBytes, SystemClock};
use crate::config::Config;
use crate::model::operator::{AccessKeyState, AttachedPolicy, BuiltIn, DOCUMENT_BYTES, Document, Identity, IdentityKind, Pattern};
use crate::model::{AccessKeyId, Name};
use crate::service::{self, Kms, Mentions};
use crate::store::{AccessKey, Store};
use crate::wire::date;
use crate::wire::openapi::{Action, UNSERVED};

/// The most policies that are listed when somebody was deleted whom they name.
const MENTIONS: usize = 20;

#[derive(Subcommand)]
pub(super) enum Operators {
    /// Make an operator. Without a policy it is permitted nothing.
    Create {
        /// Its name.
        name: Name,
        #[command(flatten)]
        policies: Policies,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List the operators with their policies.
    List,
    /// Show an operator with its policies, word for word.
    Show {
        /// Its name.
        name: Name,
    },
    /// Delete an operator with its policies and AccessKeys: they stop working.
    Delete {
        /// Its name.
        name: Name,
    },
    /// Give an operator policies; one that it has by the same name is replaced.
    Attach {
        /// The operator.
        name: Name,
        #[command(flatten)]
        policies: Policies,
    },
    /// Take a policy from an operator.
    Detach {
        /// The operator.
        name: Name,
        /// The name of the policy.
        policy: Name,
    },
    /// Make, list, disable and delete the AccessKeys of operators.
    #[command(subcommand)]
    AccessKey(AccessKeys),
}

/// Which policies.
#[derive(clap::Args)]
pub(super) struct Policies {
    /// A built-in policy: AliyunKMSFullAccess or AliyunKMSReadOnlyAccess. May be given again.
    #[arg(long = "policy", value_name = "NAME")]
    built_in: Vec<BuiltIn>,
    /// A file with a policy: {"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:Encrypt"],
    /// "Resource":["acs:kms:*:*:key/key-..."]}]}. It is called like the file, without its extension. May be given again.
    #[arg(long = "policy-file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Subcommand)]
pub(super) enum AccessKeys {
    /// Make an AccessKey; an operator has two at the most, one in use and one to change to.
    Create {
        /// The operator.
        operator: Name,
        /// The folder that its file goes to: accessKey_<id>.json, which `keystead api --access-key-file` takes.
        #[arg(long, default_value = ".", value_name = "FOLDER")]
        out: PathBuf,
    },
    /// List AccessKeys.
    List {
        /// The operator; without it those of all.
        operator: Option<Name>,
    },
    /// Let an AccessKey be used no more, until it is enabled.
    Disable {
        /// The AccessKey.
        id: AccessKeyId,
    },
    /// Let a disabled AccessKey be used again.
    Enable {
        /// The AccessKey.
        id: AccessKeyId,
    },
    /// Delete an AccessKey: it stops working.
    Delete {
        /// The AccessKey.
        id: AccessKeyId,
    },
}

pub(super) async fn run(path: &Path, command: Operators) -> Result<()> {
    let config = Config::load(path)?;
    match command {
        Operators::Create { name, policies, description } => create(&config, name, policies, description).await,
        Operators::List => list(&config).await,
        Operators::Show { name } => show(&config, &name).await,
        Operators::Delete { name } => {
            let mentions = change(&config, ("operator delete", name.as_str()), async |store| {
                let mentions = Kms::mentions(store, Kms::operator(store, &name).await?.kind, &name).await?;
                store.delete_identity(&name).await.map(|()| mentions)
            })
            .await?;
            say!("The operator {name} is deleted: its AccessKeys work no more.");
            tell_mentions(&name, &mentions);
            Ok(())
        }
        Operators::Attach { name, policies } => attach(&config, IdentityKind::User, &name, policies).await,
        Operators::Detach { name, policy } => {
            change(&config, ("operator detach", name.as_str()), async |store| store.detach_policy(&name, &policy).await).await?;
            say!("The operator {name} has no policy {policy} any more.");
            Ok(())
        }
        Operators::AccessKey(AccessKeys::Create { operator, out }) => create_access_key(&config, &operator, &out).await,
        Operators::AccessKey(AccessKeys::List { operator }) => list_access_keys(&config, operator.as_ref()).await,
        Operators::AccessKey(AccessKeys::Disable { id }) => {
            change(&config, ("operator access-key disable", id.as_str()), async |store| {
                store.set_access_key_state(&id, AccessKeyState::Inactive).await
            })
            .await?;
            say!("The AccessKey {id} is disabled: requests that it signs are refused.");
            Ok(())
        }
        Operators::AccessKey(AccessKeys::Enable { id }) => {
            change(&config, ("operator access-key enable", id.as_str()), async |store| {
                store.set_access_key_state(&id, AccessKeyState::Active).await
            })
            .await?;
            say!("The AccessKey {id} is enabled.");
            Ok(())
        }
        Operators::AccessKey(AccessKeys::Delete { id }) => {
            change(&config, ("operator access-key delete", id.as_str()), async |store| store.delete_access_key(&id).await).await?;
            say!("The AccessKey {id} is deleted: requests that it signs are refused.");
            Ok(())
        }
    }
}

/// Opens the store for one change, which is recorded in the audit log, and returns when a running server knows of it.
pub(super) async fn change<T>(
    config: &Config,
    (operation, resource): (&'static str, &str),
    work: impl AsyncFnOnce(&Store) -> Result<T>,
) -> Result<T> {
    let store = assembly::store(config).await?;
    let witness = Witness::begin(config, &store).await?;
    let done = work(&store).await;
    let done = witness.end(&store, Done { operation, instance: None, resource: Some(resource) }, done).await;
    store.close().await;
    let done = done?;
    until_known(config).await;
    Ok(done)
}

async fn create(config: &Config, name: Name, policies: Policies, description: String) -> Result<()> {
    let identity = Identity { name, kind: IdentityKind::User, policies: policies.read()?, description, created: SystemClock.now() };
    change(config, ("operator create", identity.name.as_str()), async |store| store.create_identity(&identity).await).await?;
    say!("operator  {}", identity.name);
    tell(&identity.policies);
    say!("Give it an AccessKey: `keystead operator access-key create {}`.", identity.name);
    Ok(())
}

pub(super) async fn attach(config: &Config, kind: IdentityKind, name: &Name, policies: Policies) -> Result<()> {
    let policies = policies.read()?;
    if policies.is_empty() {
        return Err(Error::invalid("Name a policy: --policy or --policy-file."));
    }
    let (operation, shown) = match kind {
        IdentityKind::Root | IdentityKind::User => ("operator attach", "operator"),
        IdentityKind::Role => ("role attach", "role"),
    };
    change(config, (operation, name.as_str()), async |store| {
        if kind == IdentityKind::Role {
            Kms::role(store, name).await?;
        }
        for policy in &policies {
            store.attach_policy(name, policy).await?;
        }
        Ok(())
    })
    .await?;
    say!("{shown:<9} {name}");
    tell(&policies);
    Ok(())
}

/// The policies that somebody got, with notes on what can be no intention.
pub(super) fn tell(policies: &[AttachedPolicy]) {
    for policy in policies {
        say!("policy    {}", policy.name());
        for action in policy.document().actions().filter(|action| !is_known(action)) {
            say!("          note: no operation fits the action {action}");
        }
    }
    if policies.is_empty() {
        say!("policy    none: it is permitted nothing");
    }
}

/// What still speaks of somebody who was deleted.
pub(super) fn tell_mentions(name: &Name, mentions: &Mentions) {
    let keys = mentions.keys.iter().map(|key| format!("the key policy of {key}"));
    let roles = mentions.roles.iter().map(|role| format!("the trust policy of the role {role}"));
    let all: Vec<_> = keys.chain(roles).collect();
    for mention in all.iter().take(MENTIONS) {
        say!("          note: {mention} still names {name}");
    }
    if all.len() > MENTIONS {
        say!("          note: and {} more do", all.len() - MENTIONS);
    }
    if !all.is_empty() {
        say!(
            "Whoever is made under this name next gets what they grant: change them first, by SetKeyPolicy and `keystead role trust`."
        );
    }
}

/// Whether any operation of the API fits.
fn is_known(action: &Pattern) -> bool {
    let split = ["ReEncryptFrom", "ReEncryptTo"];
    let names = Action::ALL.iter().map(|action| action.name()).chain(UNSERVED.iter().copied()).chain(split);
    names.filter(|name| *name != Action::ReEncrypt.name()).any(|name| action.matches(&format!("kms:{}", name.to_ascii_lowercase())))
}

impl Policies {
    pub(super) fn read(self) -> Result<Vec<AttachedPolicy>> {
        let mut policies: Vec<_> = self.built_in.into_iter().map(AttachedPolicy::BuiltIn).collect();
        for file in &self.files {
            policies.push(policy_in(file)?);
        }
        Ok(policies)
    }
}

/// The policy in a file, called like it.
fn policy_in(file: &Path) -> Result<AttachedPolicy> {
    let shown = file.display();
    let wrong = |error: &Error| Error::new(error.kind(), format!("{shown}: {}", error.message()));
    let text = read_policy_file(file)?;
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name: Name = stem.parse().map_err(|error| wrong(&error))?;
    service::policy_of(name, &text).map_err(|error| wrong(&error))
}

/// The text of a file, as long as a policy may be.
pub(super) fn read_policy_file(file: &Path) -> Result<String> {
    let shown = file.display();
    let unread = |error: &dyn std::fmt::Display| Error::new(Kind::Unavailable, format!("{shown} cannot be read: {error}."));
    let length = std::fs::metadata(file).map_err(|error| unread(&error))?.len();
    if length > DOCUMENT_BYTES as u64 {
        return Err(Error::invalid(format!("{shown}: a policy has at most {DOCUMENT_BYTES} bytes.")));
    }
    std::fs::read_to_string(file).map_err(|error| unread(&error))
}

async fn list(config: &Config) -> Result<()> {
    let store = assembly::store(config).await?;
    let identities = store.identities().await?;
    store.close().await;
    say!("{:<32} {:<6} {:<21} policies", "operator", "kind", "since");
    for identity in identities {
        let policies: Vec<_> = identity.policies.iter().map(AttachedPolicy::name).collect();
        let policies = match identity.kind {
            IdentityKind::Root => "everything".to_owned(),
            IdentityKind::User | IdentityKind::Role => policies.join(", "),
        };
        say!("{:<32} {:<6} {:<21} {policies}", identity.name, identity.kind.name(), date::to_iso(identity.created));
    }
    Ok(())
}

async fn show(config: &Config, name: &Name) -> Result<()> {
    let store = assembly::store(config).await?;
    let identity = Kms::operator(&store, name).await;
    store.close().await;
    let identity = identity?;
    say!("operator     {} ({})", identity.name, identity.kind.name());
    say!("since        {}", date::to_iso(identity.created));
    say!("description  {}", identity.description);
    if identity.kind == IdentityKind::Root {
        say!("It is allowed everything.");
    }
    print_policies(&identity);
    Ok(())
}

/// The policies, word for word.
pub(super) fn print_policies(identity: &Identity) {
    for policy in &identity.policies {
        let document: &Document = policy.document();
        say!("policy       {}\n{}", policy.name(), document.text().trim_end());
    }
}

async fn create_access_key(config: &Config, operator: &Name, out: &Path) -> Result<()> {
    check_folder(out)?;
    let mut file = None;
    let made = change(config, ("operator access-key create", operator.as_str()), async |store| {
        Kms::hand_out_access_key(store, operator, SystemClock.now(), |key| {
            let path = out.join(format!("accessKey_{}.json", key.info.id));
            write_new_secret(&path, access_key_file(key).expose())?;
            file = Some(path);
            Ok(())
        })
        .await
    })
    .await;
    let file = file.unwrap_or_default();
    // The store did not take it: nobody may believe that it works.
    let key = made.inspect_err(|_| drop(std::fs::remove_file(&file)))?;
    say!("AccessKey  {} of {operator}", key.info.id);
    say!("secret     {}", file.display());
    Ok(())
}

async fn list_access_keys(config: &Config, operator: Option<&Name>) -> Result<()> {
    let store = assembly::store(config).await?;
    if let Some(name) = operator {
        Kms::operator(&store, name).await?;
    }
    let keys = store.access_keys().await?;
    store.close().await;
    say!("{:<26} {:<8} {:<21} operator", "AccessKey", "state", "since");
    for AccessKey { info, .. } in keys.iter().filter(|key| operator.is_none_or(|name| key.info.owner == *name)) {
        say!("{:<26} {:<8} {:<21} {}", info.id, info.state.name(), date::to_iso(info.created), info.owner);
    }
    Ok(())
}

/// The file of an AccessKey.
pub(super) fn access_key_file(key: &AccessKey) -> SecretBytes {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct File<'a> {
        access_key_id: &'a str,
        access_key_secret: &'a str,
    }
    let text = std::str::from_utf8(key.secret.expose()).unwrap_or_default();
    let file = File { access_key_id: key.info.id.as_str(), access_key_secret: text };
    SecretBytes::new(serde_json::to_vec_pretty(&file).unwrap_or_default())
}
