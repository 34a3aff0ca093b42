//! `keystead oidc-provider ...`: whose tokens let somebody assume roles, and what these tokens are verified by. Needs the root key and no
//! AccessKey; a running server knows of changes within a second.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::assembly;
use super::operators::{change, tell_mentions};
use crate::app::output::say;
use crate::base::{Clock, Error, Kind, Result, SystemClock};
use crate::config::Config;
use crate::model::oidc::{ClientIds, KEY_SET_BYTES, KeySet, OidcProvider};
use crate::model::{ClientId, IssuerUrl, Name};
use crate::service::Kms;
use crate::store::OidcProviderChange;
use crate::wire::date;

#[derive(Subcommand)]
pub(super) enum OidcProviders {
    /// Make a provider. Nobody is let in by that alone: the trust policies of roles say whom of those that it knows.
    ///
    /// Of a Kubernetes cluster `kubectl get --raw /.well-known/openid-configuration` says the issuer, and
    /// `kubectl get --raw /openid/v1/jwks > jwks.json` writes the key set. Nothing is fetched from the issuer.
    Create {
        /// Its name, for its ARN: acs:ram::0:oidc-provider/<name>.
        name: Name,
        /// What its tokens have in iss: https://...
        #[arg(long, value_name = "URL")]
        issuer: IssuerUrl,
        /// What its tokens have in aud, when they are for here. May be given again.
        #[arg(long = "client-id", value_name = "ID", required = true)]
        client_ids: Vec<ClientId>,
        /// A file with the public keys that it signs with, its JWKS: {"keys":[...]}.
        #[arg(long, value_name = "FILE")]
        jwks_file: PathBuf,
        /// How long after it was issued a token is taken, whatever it says itself.
        #[arg(long, value_name = "HOURS", default_value = "12", value_parser = hours())]
        issuance_limit: u32,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List the providers.
    List,
    /// Show a provider with its keys.
    #[command(visible_alias = "describe")]
    Show {
        /// Its name.
        name: Name,
    },
    /// Change what is given, as when the provider has new keys; its issuer stays.
    #[command(group = clap::ArgGroup::new("changed").required(true).multiple(true))]
    Update {
        /// Its name.
        name: Name,
        /// All of its client ids from now on. May be given again.
        #[arg(long = "client-id", value_name = "ID", group = "changed")]
        client_ids: Vec<ClientId>,
        /// A file as for `create`, with all keys from now on. While the provider changes its keys, it has the former ones, too.
        #[arg(long, value_name = "FILE", group = "changed")]
        jwks_file: Option<PathBuf>,
        /// How long after it was issued a token is taken.
        #[arg(long, value_name = "HOURS", value_parser = hours(), group = "changed")]
        issuance_limit: Option<u32>,
        /// What it is for.
        #[arg(long, group = "changed")]
        description: Option<String>,
    },
    /// Delete a provider: its tokens are good for nothing any more. Sessions that were begun by them last until they end.
    Delete {
        /// Its name.
        name: Name,
    },
}

/// Between `SHORTEST_ISSUANCE_LIMIT` and `LONGEST_ISSUANCE_LIMIT`.
fn hours() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=168)
}

pub(super) async fn run(path: &Path, command: OidcProviders) -> Result<()> {
    let config = Config::load(path)?;
    match command {
        OidcProviders::Create { name, issuer, client_ids, jwks_file, issuance_limit, description } => {
            let provider = OidcProvider {
                name,
                issuer,
                client_ids: ClientIds::from_list(client_ids)?,
                keys: keys_in(&jwks_file)?,
                issuance_limit: seconds(issuance_limit),
                description,
                created: SystemClock.now(),
            };
            let of = ("oidc-provider create", provider.name.as_str());
            change(&config, of, async |store| store.create_oidc_provider(&provider).await).await?;
            tell(&provider);
            Ok(())
        }
        OidcProviders::List => list(&config).await,
        OidcProviders::Show { name } => {
            let store = assembly::store(&config).await?;
            let found = Kms::oidc_provider(&store, &name).await;
            store.close().await;
            let provider = found?;
            tell(&provider);
            say!("since        {}", date::to_iso(provider.created));
            say!("description  {}", provider.description);
            Ok(())
        }
        OidcProviders::Update { name, client_ids, jwks_file, issuance_limit, description } => {
            let changed = OidcProviderChange {
                client_ids: Some(client_ids).filter(|ids| !ids.is_empty()).map(ClientIds::from_list).transpose()?,
                keys: jwks_file.as_deref().map(keys_in).transpose()?,
                issuance_limit: issuance_limit.map(seconds),
                description,
            };
            let of = ("oidc-provider update", name.as_str());
            let provider = change(&config, of, async |store| {
                store.change_oidc_provider(&name, &changed).await?;
                Kms::oidc_provider(store, &name).await
            })
            .await?;
            tell(&provider);
            Ok(())
        }
        OidcProviders::Delete { name } => {
            let of = ("oidc-provider delete", name.as_str());
            let mentions = change(&config, of, async |store| {
                let mentions = Kms::mentions_of_oidc_provider(store, &name).await?;
                store.delete_oidc_provider(&name).await.map(|()| mentions)
            })
            .await?;
            say!("The OIDC provider {name} is deleted: its tokens are good for nothing any more.");
            tell_mentions(&name, &mentions);
            Ok(())
        }
    }
}

fn seconds(hours: u32) -> Duration {
    Duration::from_secs(u64::from(hours) * 3600)
}

/// The key set in a file, or in a pipe.
fn keys_in(file: &Path) -> Result<KeySet> {
    let shown = file.display();
    let unread = |error: std::io::Error| Error::new(Kind::Unavailable, format!("{shown} cannot be read: {error}."));
    let mut text = String::new();
    // One byte more than is taken: what is longer is not read to its end.
    let bound = KEY_SET_BYTES as u64 + 1;
    std::fs::File::open(file).map_err(unread)?.take(bound).read_to_string(&mut text).map_err(unread)?;
    text.parse().map_err(|error: Error| Error::new(error.kind(), format!("{shown}: {}", error.message())))
}

fn tell(provider: &OidcProvider) {
    say!("provider     {}", provider.name);
    say!("ARN          {}", provider.arn());
    say!("issuer       {}", provider.issuer);
    for id in provider.client_ids.iter() {
        say!("client id    {id}");
    }
    say!("issued       at most {} hours ago", provider.issuance_limit.as_secs() / 3600);
    for (kid, algorithms) in provider.keys.described() {
        say!("key          {} ({algorithms})", kid.escape_debug());
    }
}

async fn list(config: &Config) -> Result<()> {
    let store = assembly::store(config).await?;
    let providers = store.oidc_providers().await?;
    store.close().await;
    say!("{:<32} {:<48} {:<4} {:<21} client ids", "provider", "issuer", "keys", "since");
    for provider in &providers {
        let ids: Vec<_> = provider.client_ids.iter().map(ClientId::as_str).collect();
        let (keys, since) = (provider.keys.described().count(), date::to_iso(provider.created));
        say!("{:<32} {:<48} {keys:<4} {since:<21} {}", provider.name, provider.issuer, ids.join(", "));
    }
    Ok(())
}
