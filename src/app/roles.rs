//! `keystead role ...`: what others assume for a while, by whom it may be assumed, and what it permits. Needs the root key and no
//! AccessKey; a running server knows of changes within a second.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::assembly;
use super::operators::{Policies, attach, change, print_policies, read_policy_file, tell, tell_mentions};
use crate::app::output::say;
use crate::base::{Clock, Error, Result, SystemClock, random};
use crate::config::Config;
use crate::model::access::{AccessPoint, AuthenticationMethod, Callers};
use crate::model::operator::{Identity, IdentityKind, Role, TrustPolicy};
use crate::model::{Name, RoleId};
use crate::service::Kms;
use crate::store::Store;
use crate::wire::date;

#[derive(Subcommand)]
pub(super) enum Roles {
    /// Make a role. Without a policy it is permitted nothing but what an application access point of its name grants
    /// (keystead aap create --authentication-method RAMRole).
    Create {
        /// Its name; operators and roles share the names.
        name: Name,
        /// A file with who may assume it: {"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",
        /// "Principal":{"RAM":["acs:ram::0:user/alice"]}}]}; for tokens of an OIDC provider with the Principal
        /// {"Federated":["acs:ram::0:oidc-provider/cluster"]} and the Condition {"StringEquals":{"oidc:sub":"..."}}.
        #[arg(long, value_name = "FILE")]
        trust_file: PathBuf,
        /// The longest time that one may have it for at once.
        #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = max_session())]
        max_session: u32,
        #[command(flatten)]
        policies: Policies,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List the roles with their policies.
    List,
    /// Show a role with its policies and who may assume it, word for word.
    Show {
        /// Its name.
        name: Name,
    },
    /// Delete a role with its policies: whoever has assumed it is permitted nothing any more.
    Delete {
        /// Its name.
        name: Name,
    },
    /// Give a role policies; one that it has by the same name is replaced.
    Attach {
        /// The role.
        name: Name,
        #[command(flatten)]
        policies: Policies,
    },
    /// Take a policy from a role.
    Detach {
        /// The role.
        name: Name,
        /// The name of the policy.
        policy: Name,
    },
    /// Change who may assume a role, or for how long; whoever has assumed it already keeps it until then.
    Trust {
        /// The role.
        name: Name,
        /// A file as for `create`.
        #[arg(long, value_name = "FILE", required_unless_present = "max_session")]
        trust_file: Option<PathBuf>,
        /// The longest time that one may have it for at once.
        #[arg(long, value_name = "SECONDS", value_parser = max_session())]
        max_session: Option<u32>,
    },
}

/// Between `SHORTEST_LIMIT` and `LONGEST_LIMIT`.
fn max_session() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(3600..=43_200)
}

pub(super) async fn run(path: &Path, command: Roles) -> Result<()> {
    let config = Config::load(path)?;
    match command {
        Roles::Create { name, trust_file, max_session, policies, description } => {
            let role = Role {
                name,
                id: RoleId::from_entropy(random::bytes()),
                trust: trust_in(&trust_file)?,
                max_session: seconds(max_session),
            };
            create(&config, &role, policies, description).await
        }
        Roles::List => list(&config).await,
        Roles::Show { name } => show(&config, &name).await,
        Roles::Delete { name } => {
            let (mentions, access_point) = change(&config, ("role delete", name.as_str()), async |store| {
                Kms::role(store, &name).await?;
                let mentions = Kms::mentions(store, IdentityKind::Role, &name).await?;
                let access_point = access_point(store, &name).await?;
                store.delete_identity(&name).await?;
                Ok((mentions, access_point))
            })
            .await?;
            say!("The role {name} is deleted: whoever has assumed it is permitted nothing any more.");
            if access_point.is_some() {
                say!("The application access point {name} grants nothing any more, also when the role is made again: delete it.");
            }
            tell_mentions(&name, &mentions);
            Ok(())
        }
        Roles::Attach { name, policies } => attach(&config, IdentityKind::Role, &name, policies).await,
        Roles::Detach { name, policy } => {
            change(&config, ("role detach", name.as_str()), async |store| {
                Kms::role(store, &name).await?;
                store.detach_policy(&name, &policy).await
            })
            .await?;
            say!("The role {name} has no policy {policy} any more.");
            Ok(())
        }
        Roles::Trust { name, trust_file, max_session } => {
            let trust = trust_file.as_deref().map(trust_in).transpose()?;
            let missing = change(&config, ("role trust", name.as_str()), async |store| {
                store.change_role(&name, trust.as_ref(), max_session.map(seconds)).await?;
                missing_providers(store, trust.as_ref()).await
            })
            .await?;
            say!("The role {name} is changed.");
            note(&missing);
            Ok(())
        }
    }
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}

/// The trust policy in a file.
fn trust_in(file: &Path) -> Result<TrustPolicy> {
    let text = read_policy_file(file)?;
    text.parse().map_err(|error: Error| Error::new(error.kind(), format!("{}: {}", file.display(), error.message())))
}

async fn create(config: &Config, role: &Role, policies: Policies, description: String) -> Result<()> {
    let (name, kind, created) = (role.name.clone(), IdentityKind::Role, SystemClock.now());
    let identity = Identity { name, kind, policies: policies.read()?, description, created };
    let (of_former, missing) = change(config, ("role create", role.name.as_str()), async |store| {
        store.create_role(&identity, role).await?;
        Ok((access_point(store, &role.name).await?, missing_providers(store, Some(&role.trust)).await?))
    })
    .await?;
    say!("role      {}", role.name);
    say!("ARN       {}", role.arn());
    tell(&identity.policies);
    note(&missing);
    if of_former.is_some() {
        say!(
            "The application access point {} was made for a former role of this name, and grants this one nothing: delete it, and make it \
             again.",
            role.name
        );
    }
    Ok(())
}

/// The access point of this name whose callers are sessions of a role.
async fn access_point(store: &Store, name: &Name) -> Result<Option<AccessPoint>> {
    let points = store.access().await?.access_points;
    Ok(points.into_iter().find(|point| point.name == *name && point.callers.method() == AuthenticationMethod::RamRole))
}

/// The OIDC providers that a trust policy names and that are not there.
async fn missing_providers(store: &Store, trust: Option<&TrustPolicy>) -> Result<BTreeSet<Name>> {
    let named: BTreeSet<_> = trust.into_iter().flat_map(TrustPolicy::oidc_providers).cloned().collect();
    let known: BTreeSet<_> = store.oidc_providers().await?.into_iter().map(|provider| provider.name).collect();
    Ok(named.difference(&known).cloned().collect())
}

/// What can be no intention, or is to follow.
fn note(missing: &BTreeSet<Name>) {
    for name in missing {
        say!("          note: there is no OIDC provider {name}");
    }
}

async fn list(config: &Config) -> Result<()> {
    let store = assembly::store(config).await?;
    let (identities, roles) = (store.identities().await?, store.roles().await?);
    store.close().await;
    say!("{:<32} {:<18} {:<9} {:<21} policies", "role", "id", "longest", "since");
    for Role { name, id, max_session, .. } in &roles {
        let Some(identity) = identities.iter().find(|identity| identity.name == *name) else { continue };
        let policies: Vec<_> = identity.policies.iter().map(|policy| policy.name()).collect();
        let (longest, since) = (format!("{} s", max_session.as_secs()), date::to_iso(identity.created));
        say!("{name:<32} {id:<18} {longest:<9} {since:<21} {}", policies.join(", "));
    }
    Ok(())
}

async fn show(config: &Config, name: &Name) -> Result<()> {
    let store = assembly::store(config).await?;
    let found = Kms::role(&store, name).await;
    let identity = Kms::operator(&store, name).await;
    let access_point = access_point(&store, name).await;
    store.close().await;
    let (role, identity) = (found?, identity?);
    let access_point = access_point?.filter(|point| point.callers == Callers::SessionsOf(role.id.clone()));
    say!("role         {name}");
    say!("ARN          {}", role.arn());
    say!("id           {}", role.id);
    say!("since        {}", date::to_iso(identity.created));
    say!("longest      {} s", role.max_session.as_secs());
    say!("description  {}", identity.description);
    if let Some(AccessPoint { name, policies, .. }) = access_point {
        let policies: Vec<_> = policies.iter().map(Name::as_str).collect();
        say!("access point {name}, by the permission policies {}", policies.join(", "));
    }
    say!("trust policy\n{}", role.trust.text().trim_end());
    print_policies(&identity);
    Ok(())
}
